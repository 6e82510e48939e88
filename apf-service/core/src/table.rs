//! The table of outstanding faults. The service thread owns it.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use heapless::{Deque, FnvIndexMap};

use crate::event::{CoreId, Event, Generation, Kind};
use crate::protocol::{OUTSTANDING_PER_VCPU, Token};
use crate::slots::{SLOTS, Ticket};
use crate::time::Tsc;

/// A fault that waits for its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// Releases the waiter.
    pub ticket: Ticket,
    /// When the #PF was delivered.
    pub since: Tsc,
    /// The instruction that touched the page.
    pub rip: u64,
}

/// What an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A waiter was entered.
    Parked,
    /// A waiter was entered, and an older one with its token was released.
    Displaced(Outstanding),
    /// A waiter was released by its own ready.
    Released(Outstanding),
    /// Its ready had come first: released as it was entered.
    ReleasedEarly,
    /// Released as it was entered, since the table is full.
    NoRoom,
    /// A ready without a waiter is remembered: its fault may be still to come.
    RememberedReady {
        /// The oldest one remembered, which had to make room.
        forgot: Option<Token>,
    },
    /// A ready without a waiter came once more.
    DuplicateReady,
    /// An early ready met a fault that nobody waits for.
    Swallowed,
    /// A fault that nobody waits for, and no early ready.
    Unneeded,
    /// All waiters of the core were released.
    ReleasedAll(usize),
    /// Of an earlier life of the core.
    Stale,
}

/// One core's faults.
struct PerCore {
    /// `None` until the first event, which may be of any life.
    generation: Option<Generation>,
    outstanding: FnvIndexMap<u32, Outstanding, SLOTS>,
    /// Readies without a waiter, and the lives of this core in which they came.
    /// Those of an earlier life match only faults of other cores.
    early: Deque<(Token, Generation, Tsc), OUTSTANDING_PER_VCPU>,
}

/// Which task waits for which page, for every core.
pub struct Table {
    cores: Vec<Box<PerCore>>,
}

impl Table {
    /// A table for `cores` cores. The only allocation it ever makes.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let empty =
            || Box::new(PerCore { generation: None, outstanding: FnvIndexMap::new(), early: Deque::new() });
        Self { cores: (0..cores).map(|_| empty()).collect() }
    }

    /// Faults that wait for their page, on all cores.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.cores.iter().map(|core| core.outstanding.len()).sum()
    }

    /// Takes out a fault that has waited longer than `limit` cycles, if there
    /// is one. Its waiter is to be released: the access faults again, and what
    /// was lost is asked for anew.
    pub fn take_overdue(&mut self, now: Tsc, limit: u64) -> Option<(CoreId, Token, Outstanding)> {
        for (core, faults) in (0..).map(CoreId).zip(&mut self.cores) {
            let overdue = faults.outstanding.iter().find(|(_, fault)| now.since(fault.since) > limit);
            if let Some((token, fault)) = overdue.map(|(&token, &fault)| (token, fault)) {
                faults.outstanding.remove(&token);
                return Some((core, Token(token), fault));
            }
        }
        None
    }

    /// Forgets the faults whose wait is over: a ready interrupt may have released
    /// them, or their core in being disarmed. `waits` tells whether a ticket's goes on.
    pub fn forget_over(&mut self, waits: impl Fn(CoreId, Ticket) -> bool) {
        for (core, faults) in (0..).map(CoreId).zip(&mut self.cores) {
            faults.outstanding.retain(|_, fault| waits(core, fault.ticket));
        }
    }

    /// Takes in one event. `release` is called for each waiter to be released,
    /// with the time at which its page was ready.
    pub fn apply(&mut self, event: &Event, mut release: impl FnMut(CoreId, Ticket, Tsc)) -> Outcome {
        let Some(core) = self.cores.get_mut(usize::from(event.core.0)) else {
            return Outcome::Stale;
        };
        let mut release_on = |core, ticket, at| {
            if ticket != Ticket::NONE {
                release(core, ticket, at);
            }
        };
        let mut release = |ticket, at| release_on(event.core, ticket, at);
        if core.generation != Some(event.generation) {
            if core.generation.is_some_and(|current| event.generation.is_before(current)) {
                // Disarming released its waiter; once more is harmless.
                release(event.ticket, event.at);
                return Outcome::Stale;
            }
            // Likewise.
            core.release_all(event.at, &mut release);
            core.generation = Some(event.generation);
        }
        match event.kind {
            Kind::NotPresent => match self.take_early(event) {
                Some(at) => {
                    release(event.ticket, at);
                    if event.ticket == Ticket::NONE { Outcome::Swallowed } else { Outcome::ReleasedEarly }
                }
                None => self.of(event.core).not_present(event, &mut release),
            },
            Kind::Ready => match self.take_waiter(event) {
                Some((core, fault)) => {
                    release_on(core, fault.ticket, event.at);
                    Outcome::Released(fault)
                }
                None => self.of(event.core).remember(event),
            },
            Kind::WakeAll => Outcome::ReleasedAll(self.of(event.core).release_all(event.at, &mut release)),
        }
    }

    fn of(&mut self, core: CoreId) -> &mut PerCore {
        &mut self.cores[usize::from(core.0)]
    }

    /// The cores, that of the event first: nearly always its own.
    fn own_first(&mut self, own: CoreId) -> impl Iterator<Item = (CoreId, &mut Box<PerCore>)> {
        let all = || (0..).map(CoreId);
        let (before, rest) = self.cores.split_at_mut(usize::from(own.0));
        all().skip(before.len()).zip(rest).chain(all().zip(before))
    }

    /// When the page of a fault was ready, if that was told before the fault.
    fn take_early(&mut self, fault: &Event) -> Option<Tsc> {
        self.own_first(fault.core).find_map(|(core, faults)| {
            faults.take_early(fault.token, |life| core != fault.core || life == fault.generation)
        })
    }

    /// Who waits for a ready: a task of the core on which it came, or of another.
    fn take_waiter(&mut self, ready: &Event) -> Option<(CoreId, Outstanding)> {
        self.own_first(ready.core)
            .find_map(|(core, faults)| Some((core, faults.outstanding.remove(&ready.token.0)?)))
    }
}

impl PerCore {
    fn not_present(&mut self, event: &Event, release: &mut impl FnMut(Ticket, Tsc)) -> Outcome {
        if event.ticket == Ticket::NONE {
            return Outcome::Unneeded;
        }
        let fault = Outstanding { ticket: event.ticket, since: event.at, rip: event.rip };
        match self.outstanding.insert(event.token.0, fault) {
            Ok(None) => Outcome::Parked,
            // The host used a token twice. The older waiter would never be
            // found again: let it retry, which is always safe.
            Ok(Some(older)) => {
                release(older.ticket, event.at);
                Outcome::Displaced(older)
            }
            // More waiters than a core has slots: only with entries whose
            // waiter was released behind the table's back.
            Err(_) => {
                release(event.ticket, event.at);
                Outcome::NoRoom
            }
        }
    }

    /// A ready without a waiter: its fault may be still to come.
    fn remember(&mut self, ready: &Event) -> Outcome {
        let known = |&(token, life, _): &_| token == ready.token && life == ready.generation;
        if self.early.iter().any(known) {
            return Outcome::DuplicateReady;
        }
        let forgot = if self.early.is_full() { self.early.pop_front() } else { None };
        let _ = self.early.push_back((ready.token, ready.generation, ready.at));
        Outcome::RememberedReady { forgot: forgot.map(|(token, ..)| token) }
    }

    fn take_early(&mut self, token: Token, of_life: impl Fn(Generation) -> bool) -> Option<Tsc> {
        let mut found = None;
        for _ in 0..self.early.len() {
            let early = self.early.pop_front()?;
            if found.is_none() && early.0 == token && of_life(early.1) {
                found = Some(early.2);
            } else {
                let _ = self.early.push_back(early);
            }
        }
        found
    }

    fn release_all(&mut self, at: Tsc, release: &mut impl FnMut(Ticket, Tsc)) -> usize {
        let count = self.outstanding.len();
        self.outstanding.values().for_each(|fault| release(fault.ticket, at));
        self.outstanding.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, token: u32, ticket: u32) -> Event {
        Event {
            kind,
            token: Token(token),
            ticket: Ticket(ticket),
            core: CoreId(0),
            generation: Generation(1),
            at: Tsc(7),
            rip: 0,
        }
    }

    fn apply(table: &mut Table, event: Event) -> (Outcome, Vec<u32>) {
        let mut released = Vec::new();
        let outcome = table.apply(&event, |_, ticket, _| released.push(ticket.0));
        (outcome, released)
    }

    #[test]
    fn a_ready_releases_its_own_waiter_only() {
        let mut t = Table::new(1);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 1, 11)).0, Outcome::Parked);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 2, 22)).0, Outcome::Parked);
        let (outcome, released) = apply(&mut t, event(Kind::Ready, 2, 0));
        assert!(matches!(outcome, Outcome::Released(_)));
        assert_eq!((released, t.outstanding()), (alloc::vec![22], 1));
    }

    #[test]
    fn an_early_ready_is_remembered_and_consumed_once() {
        let mut t = Table::new(1);
        assert_eq!(apply(&mut t, event(Kind::Ready, 5, 0)).0, Outcome::RememberedReady { forgot: None });
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 5, 50)), (Outcome::ReleasedEarly, alloc::vec![50]));
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 5, 51)), (Outcome::Parked, alloc::vec![]));
    }

    #[test]
    fn wake_all_releases_this_core_only() {
        let mut t = Table::new(2);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        apply(&mut t, Event { core: CoreId(1), ..event(Kind::NotPresent, 1, 99) });
        assert_eq!(
            apply(&mut t, event(Kind::WakeAll, u32::MAX, 0)),
            (Outcome::ReleasedAll(1), alloc::vec![11])
        );
        assert_eq!(t.outstanding(), 1);
    }

    #[test]
    fn a_ready_on_another_core_finds_its_waiter() {
        let mut t = Table::new(3);
        let there = |event: Event| Event { core: CoreId(2), ..event };
        let mut released = Vec::new();
        let mut apply = |t: &mut Table, event: Event| {
            t.apply(&event, |core, ticket, _| released.push((core.0, ticket.0)))
        };
        apply(&mut t, there(event(Kind::NotPresent, 1, 11)));
        assert!(matches!(apply(&mut t, event(Kind::Ready, 1, 0)), Outcome::Released(_)));
        // And if it comes first, also from a life of its core that is over.
        apply(&mut t, event(Kind::Ready, 2, 0));
        apply(&mut t, Event { generation: Generation(2), ..event(Kind::WakeAll, u32::MAX, 0) });
        assert_eq!(apply(&mut t, there(event(Kind::NotPresent, 2, 22))), Outcome::ReleasedEarly);
        assert_eq!(apply(&mut t, there(event(Kind::NotPresent, 2, 23))), Outcome::Parked);
        assert_eq!(released, [(2, 11), (2, 22)]);
    }

    #[test]
    fn its_own_core_comes_first() {
        let mut t = Table::new(3);
        for core in 0..3 {
            apply(&mut t, Event { core: CoreId(core), ..event(Kind::NotPresent, 1, 10 + u32::from(core)) });
        }
        assert_eq!(apply(&mut t, Event { core: CoreId(1), ..event(Kind::Ready, 1, 0) }).1, [11]);
    }

    #[test]
    fn an_earlier_life_does_not_match() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        let next = Event { generation: Generation(2), ..event(Kind::NotPresent, 1, 12) };
        assert_eq!(apply(&mut t, next).1, [11]);
        assert_eq!(apply(&mut t, event(Kind::Ready, 1, 0)), (Outcome::Stale, alloc::vec![]));
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 2, 13)), (Outcome::Stale, alloc::vec![13]));
        assert_eq!(t.outstanding(), 1);
    }

    #[test]
    fn an_early_ready_of_an_earlier_life_is_not_met() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::Ready, 1, 0));
        let next = |event: Event| Event { generation: Generation(2), ..event };
        assert_eq!(apply(&mut t, next(event(Kind::NotPresent, 1, 12))).0, Outcome::Parked);
        assert!(matches!(apply(&mut t, next(event(Kind::Ready, 1, 0))).0, Outcome::Released(_)));
    }

    #[test]
    fn a_token_used_twice_frees_the_older_waiter() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        let (outcome, released) = apply(&mut t, event(Kind::NotPresent, 1, 12));
        assert!(matches!(outcome, Outcome::Displaced(older) if older.ticket == Ticket(11)));
        assert_eq!(released, [11]);
        assert_eq!(apply(&mut t, event(Kind::Ready, 1, 0)).1, [12]);
    }

    #[test]
    fn a_wait_that_is_over_is_forgotten() {
        let mut t = Table::new(1);
        for n in 1..=3 {
            apply(&mut t, event(Kind::NotPresent, n, 10 + n));
        }
        t.forget_over(|core, ticket| (core, ticket) == (CoreId(0), Ticket(12)));
        assert_eq!(t.outstanding(), 1);
        assert!(matches!(apply(&mut t, event(Kind::Ready, 2, 0)).0, Outcome::Released(_)));
    }

    #[test]
    fn early_readies_are_bounded() {
        let mut t = Table::new(1);
        for token in 1..=100 {
            apply(&mut t, event(Kind::Ready, token, 0));
        }
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 1, 1)).0, Outcome::Parked);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 100, 2)).0, Outcome::ReleasedEarly);
    }

    #[test]
    fn a_repeated_early_ready_is_a_duplicate() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::Ready, 5, 0));
        assert_eq!(apply(&mut t, event(Kind::Ready, 5, 0)).0, Outcome::DuplicateReady);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 5, 0)).0, Outcome::Swallowed);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 5, 0)).0, Outcome::Unneeded);
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 5, 50)).0, Outcome::Parked);
    }

    #[test]
    fn an_overdue_fault_is_taken_once() {
        let mut t = Table::new(2);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        apply(&mut t, Event { core: CoreId(1), at: Tsc(50), ..event(Kind::NotPresent, 2, 22) });
        assert_eq!(t.take_overdue(Tsc(17), 10), None);
        let (core, token, fault) = t.take_overdue(Tsc(18), 10).unwrap();
        assert_eq!((core, token, fault.ticket), (CoreId(0), Token(1), Ticket(11)));
        assert_eq!(t.take_overdue(Tsc(18), 10), None);
        assert_eq!(t.take_overdue(Tsc(61), 10).unwrap().1, Token(2));
        // Its ready is still owed, and does no harm when it comes.
        assert!(matches!(apply(&mut t, event(Kind::Ready, 1, 0)).0, Outcome::RememberedReady { .. }));
    }

    #[test]
    fn a_new_table_joins_in_any_life() {
        let mut t = Table::new(1);
        let late = Event { generation: Generation(40_000), ..event(Kind::NotPresent, 1, 11) };
        assert_eq!(apply(&mut t, late).0, Outcome::Parked);
        // 65,535 lives later they begin anew.
        let next = Event { generation: Generation(2), ..event(Kind::NotPresent, 1, 12) };
        assert_eq!(apply(&mut t, next), (Outcome::Parked, alloc::vec![11]));
    }

    #[test]
    fn a_full_table_lets_the_access_retry() {
        let mut t = Table::new(1);
        for n in 1..=SLOTS as u32 {
            assert_eq!(apply(&mut t, event(Kind::NotPresent, n, n)).0, Outcome::Parked);
        }
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 9999, 9999)), (Outcome::NoRoom, alloc::vec![9999]));
    }

    #[test]
    fn a_core_that_is_not_there_is_stale() {
        let elsewhere = Event { core: CoreId(1), ..event(Kind::NotPresent, 1, 11) };
        assert_eq!(apply(&mut Table::new(1), elsewhere).0, Outcome::Stale);
    }
}
