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
    /// A waiter was released by its own ready.
    Released(Outstanding),
    /// Its ready had come first: released as it was entered.
    ReleasedEarly,
    /// A ready without a waiter is remembered: its fault is still to come.
    RememberedReady,
    /// An early ready met a fault that nobody waits for.
    Swallowed,
    /// All waiters of the core were released.
    ReleasedAll(usize),
    /// Of an earlier life of the core.
    Stale,
}

/// One core's faults.
struct PerCore {
    generation: Generation,
    outstanding: FnvIndexMap<u32, Outstanding, SLOTS>,
    early: Deque<(Token, Tsc), OUTSTANDING_PER_VCPU>,
}

/// Which task waits for which page, for every core.
pub struct Table {
    cores: Vec<Box<PerCore>>,
}

impl Table {
    /// A table for `cores` cores. The only allocation it ever makes.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let empty = || {
            Box::new(PerCore {
                generation: Generation(0),
                outstanding: FnvIndexMap::new(),
                early: Deque::new(),
            })
        };
        Self { cores: (0..cores).map(|_| empty()).collect() }
    }

    /// Faults that wait for their page, on all cores.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.cores.iter().map(|core| core.outstanding.len()).sum()
    }

    /// Takes in one event. `release` is called for each waiter to be released,
    /// with the time at which its page was ready.
    pub fn apply(&mut self, event: &Event, mut release: impl FnMut(CoreId, Ticket, Tsc)) -> Outcome {
        let Some(core) = self.cores.get_mut(usize::from(event.core.0)) else {
            return Outcome::Stale;
        };
        let mut release = |ticket, at| {
            if ticket != Ticket::NONE {
                release(event.core, ticket, at);
            }
        };
        if core.generation != event.generation {
            // Serial-number arithmetic: generations wrap.
            if event.generation.0.wrapping_sub(core.generation.0) > u16::MAX / 2 {
                return Outcome::Stale;
            }
            // Disarming released these already; releasing again is harmless.
            core.release_all(event.at, &mut release);
            core.early.clear();
            core.generation = event.generation;
        }
        match event.kind {
            Kind::NotPresent => core.not_present(event, &mut release),
            Kind::Ready => core.ready(event, &mut release),
            Kind::WakeAll => Outcome::ReleasedAll(core.release_all(event.at, &mut release)),
        }
    }
}

impl PerCore {
    fn not_present(&mut self, event: &Event, release: &mut impl FnMut(Ticket, Tsc)) -> Outcome {
        if let Some(at) = self.take_early(event.token) {
            release(event.ticket, at);
            return if event.ticket == Ticket::NONE { Outcome::Swallowed } else { Outcome::ReleasedEarly };
        }
        if event.ticket == Ticket::NONE {
            return Outcome::Stale;
        }
        let fault = Outstanding { ticket: event.ticket, since: event.at, rip: event.rip };
        match self.outstanding.insert(event.token.0, fault) {
            Ok(None) => Outcome::Parked,
            // The host used a token twice. The older waiter would never be
            // found again: let it retry, which is always safe.
            Ok(Some(older)) => {
                release(older.ticket, event.at);
                Outcome::Parked
            }
            // More waiters than a core has slots: cannot be, and is safe too.
            Err(_) => {
                release(event.ticket, event.at);
                Outcome::ReleasedEarly
            }
        }
    }

    fn ready(&mut self, event: &Event, release: &mut impl FnMut(Ticket, Tsc)) -> Outcome {
        match self.outstanding.remove(&event.token.0) {
            Some(fault) => {
                release(fault.ticket, event.at);
                Outcome::Released(fault)
            }
            None => {
                if self.early.is_full() {
                    self.early.pop_front();
                }
                let _ = self.early.push_back((event.token, event.at));
                Outcome::RememberedReady
            }
        }
    }

    fn take_early(&mut self, token: Token) -> Option<Tsc> {
        let mut found = None;
        for _ in 0..self.early.len() {
            let early = self.early.pop_front()?;
            if found.is_none() && early.0 == token {
                found = Some(early.1);
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
        assert_eq!(apply(&mut t, event(Kind::Ready, 5, 0)).0, Outcome::RememberedReady);
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
    fn an_earlier_life_does_not_match() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        let next = Event { generation: Generation(2), ..event(Kind::NotPresent, 1, 12) };
        assert_eq!(apply(&mut t, next).1, [11]);
        assert_eq!(apply(&mut t, event(Kind::Ready, 1, 0)), (Outcome::Stale, alloc::vec![]));
        assert_eq!(t.outstanding(), 1);
    }

    #[test]
    fn a_token_used_twice_frees_the_older_waiter() {
        let mut t = Table::new(1);
        apply(&mut t, event(Kind::NotPresent, 1, 11));
        assert_eq!(apply(&mut t, event(Kind::NotPresent, 1, 12)).1, [11]);
        assert_eq!(apply(&mut t, event(Kind::Ready, 1, 0)).1, [12]);
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
}
