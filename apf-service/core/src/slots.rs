//! Wait slots: where a waiter and its waker meet.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::classify::Wait;
use crate::protocol::Token;
use crate::sleeper::Sleeper;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64};
use crate::time::Tsc;

/// Slots of a core. More than [`OUTSTANDING_PER_VCPU`](crate::protocol::OUTSTANDING_PER_VCPU),
/// since a released task keeps its slot until it has run.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 256 };
/// Slots that only halting waiters may take: they nest only as deep as the
/// wait path itself can fault, so a few would do.
pub const HALT_RESERVE: usize = if cfg!(loom) { 1 } else { 32 };

const INDEX_BITS: u32 = 8;
const _: () = assert!(SLOTS <= 1 << INDEX_BITS);
/// Words of a bitmap with one bit for each slot.
const BLOCKS: usize = SLOTS.div_ceil(64);

/// Names one use of one slot of a core. A ticket of an earlier use does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Ticket(pub u32);

impl Ticket {
    /// Nobody waits.
    pub const NONE: Self = Self(0);

    const fn new(use_count: u32, index: usize) -> Self {
        Self(use_count << INDEX_BITS | index as u32)
    }

    const fn index(self) -> usize {
        self.0 as usize % SLOTS
    }

    const fn use_count(self) -> u32 {
        self.0 >> INDEX_BITS
    }
}

/// The state in a wait word's low two bits; the use count is above them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum State {
    Free = 0,
    Schedule = 1,
    Halt = 2,
    Ready = 3,
}

const fn word(use_count: u32, state: State) -> u32 {
    use_count << 2 | state as u32
}

/// One wait: a futex word, the token waited for, and the times of its stages.
/// A cache line of its own, so that waiters do not slow each other down.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    word: AtomicU32,
    token: AtomicU32,
    fault: AtomicU64,
    parked: AtomicU64,
    ready: AtomicU64,
    released: AtomicU64,
    rip: AtomicU64,
    sleeper: Sleeper,
}
#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64);

/// The stages of a finished wait.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// #PF delivered.
    pub fault: Tsc,
    /// About to block or halt.
    pub parked: Tsc,
    /// Ready interrupt.
    pub ready: Tsc,
    /// Wait word set.
    pub released: Tsc,
}

impl Slot {
    /// The futex word. It equals [`waiting_value`](Self::waiting_value) while
    /// there is something to wait for.
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// The task that sleeps on the word.
    pub fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// What the word holds while `ticket` waits by schedule.
    #[must_use]
    pub const fn waiting_value(ticket: Ticket) -> u32 {
        word(ticket.use_count(), State::Schedule)
    }

    /// Whether the wait is over.
    pub fn is_ready(&self, ticket: Ticket) -> bool {
        self.word.load(Acquire) == word(ticket.use_count(), State::Ready)
    }

    /// Notes which instruction touched the page.
    pub fn note_rip(&self, rip: u64) {
        self.rip.store(rip, Relaxed);
    }

    /// The token waited for, and the instruction that touched its page.
    pub fn origin(&self) -> (Token, u64) {
        (Token(self.token.load(Relaxed)), self.rip.load(Relaxed))
    }

    /// Notes that the waiter is about to block or halt.
    pub fn park(&self, now: Tsc) {
        self.parked.store(now.0, Relaxed);
    }

    /// How this slot is being waited on.
    pub fn wait(&self) -> Wait {
        if self.word.load(Relaxed) & 3 == State::Halt as u32 { Wait::Halt } else { Wait::Schedule }
    }

    fn stages(&self) -> Stages {
        let at = |t: &AtomicU64| Tsc(t.load(Relaxed));
        Stages {
            fault: at(&self.fault),
            parked: at(&self.parked),
            ready: at(&self.ready),
            released: at(&self.released),
        }
    }

    /// Ends the wait of `state` and `use_count`, once.
    ///
    /// ```text
    ///   waker                                waiter
    ///   ready, released = times
    ///   word: waiting → ready  (Release) ──► word == ready  (Acquire)
    ///   futex::wake                          reads the times, frees the slot
    /// ```
    ///
    /// The exchange fails when somebody else ended this wait, or the slot has
    /// moved on to another use; then the waker must not touch it.
    fn end(&self, use_count: u32, state: State, ready: Tsc, now: Tsc) -> bool {
        if self.word.load(Relaxed) != word(use_count, state) {
            return false;
        }
        self.ready.store(ready.0, Relaxed);
        self.released.store(now.0, Relaxed);
        self.word
            .compare_exchange(word(use_count, state), word(use_count, State::Ready), AcqRel, Relaxed)
            .is_ok()
    }
}

/// What became of a [`Slots::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// A scheduled waiter: its futex is to be woken.
    Scheduled,
    /// A halting waiter: it looks at its word after the next interrupt.
    Halted,
    /// Its wait was over already.
    Stale,
}

/// The slots of one core. Taken and returned by that core with interrupts
/// off; released from anywhere.
#[derive(Debug)]
pub struct Slots {
    slots: [Slot; SLOTS],
    /// Bit set: slot in use.
    used: [AtomicU64; BLOCKS],
    /// Bit set: slot in use by a halting waiter.
    halting: [AtomicU64; BLOCKS],
    in_use: AtomicU32,
    /// Which slot was last taken by a scheduled waiter whose token falls here. A
    /// place may be another token's by now: whoever looks compares.
    by_token: [AtomicU8; SLOTS],
}

/// Where [`Slots::by_token`] has a token. KVM counts its faults in the bits above
/// the lowest twelve, which are the core's number (`kvm_arch_setup_async_pf`), so
/// that those outstanding are neighbours, and each has a place for itself.
const fn place(token: Token) -> usize {
    (token.0 >> 12) as usize % SLOTS
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: core::array::from_fn(|_| Slot::default()),
            used: core::array::from_fn(|_| AtomicU64::new(0)),
            halting: core::array::from_fn(|_| AtomicU64::new(0)),
            in_use: AtomicU32::new(0),
            by_token: core::array::from_fn(|_| AtomicU8::new(0)),
        }
    }
}

impl Slots {
    /// Takes a free slot for a wait; `None` when there is none for this kind.
    pub fn take(&self, token: Token, wait: Wait, fault: Tsc) -> Option<Ticket> {
        let limit = match wait {
            Wait::Schedule => SLOTS - HALT_RESERVE,
            Wait::Halt => SLOTS,
        };
        let index = self
            .used
            .iter()
            .enumerate()
            .map(|(i, bits)| i * 64 + bits.load(Relaxed).trailing_ones() as usize)
            .zip(1..)
            .find(|&(index, block)| index < block * 64)
            .map(|(index, _)| index)
            .filter(|&index| index < limit)?;
        self.used[index / 64].fetch_or(1 << (index % 64), Relaxed);
        self.in_use.fetch_add(1, Relaxed);
        let slot = &self.slots[index];
        // Use counts start at 1, so that no ticket equals `Ticket::NONE`.
        let use_count = ((slot.word.load(Relaxed) >> 2) + 1) % (1 << (32 - INDEX_BITS));
        let use_count = use_count.max(1);
        slot.token.store(token.0, Relaxed);
        slot.fault.store(fault.0, Relaxed);
        let state = match wait {
            Wait::Schedule => State::Schedule,
            Wait::Halt => State::Halt,
        };
        slot.word.store(word(use_count, state), Release);
        match wait {
            Wait::Schedule => self.by_token[place(token)].store(index as u8, Relaxed),
            Wait::Halt => {
                self.halting[index / 64].fetch_or(1 << (index % 64), Relaxed);
            }
        }
        Some(Ticket::new(use_count, index))
    }

    /// The slot of a ticket.
    pub fn get(&self, ticket: Ticket) -> &Slot {
        &self.slots[ticket.index()]
    }

    /// Ends a wait whose page became ready at `ready`.
    pub fn release(&self, ticket: Ticket, ready: Tsc, now: Tsc) -> Released {
        let slot = self.get(ticket);
        if slot.end(ticket.use_count(), State::Schedule, ready, now) {
            Released::Scheduled
        } else if slot.end(ticket.use_count(), State::Halt, ready, now) {
            Released::Halted
        } else {
            Released::Stale
        }
    }

    /// Ends the halting wait for `token`, if there is one. A wait that is over
    /// already may still hold a slot with the same token: tokens recur, and of
    /// nested halts the innermost goes on first. It is passed over.
    ///
    /// Called on another core, it may meet a slot that has just moved on to
    /// another wait, and end that one: a spurious resume, which is safe. The
    /// wait for `token` was over then.
    pub fn release_halting(&self, token: Token, now: Tsc) -> bool {
        self.halting_slots()
            .filter(|slot| slot.token.load(Relaxed) == token.0)
            .any(|slot| slot.end(slot.word.load(Relaxed) >> 2, State::Halt, now, now))
    }

    /// Ends the scheduled wait for `token`, and tells its slot, whose sleeper is to
    /// be woken. `None` if there is no such wait, or another token has taken its
    /// place: the service thread knows.
    pub fn release_scheduled(&self, token: Token, now: Tsc) -> Option<&Slot> {
        let slot = &self.slots[usize::from(self.by_token[place(token)].load(Relaxed)) % SLOTS];
        let is_its = slot.token.load(Relaxed) == token.0;
        (is_its && slot.end(slot.word.load(Relaxed) >> 2, State::Schedule, now, now)).then_some(slot)
    }

    /// Whether the wait by schedule of `ticket` goes on.
    pub fn is_scheduled(&self, ticket: Ticket) -> bool {
        self.get(ticket).word.load(Acquire) == Slot::waiting_value(ticket)
    }

    /// Ends every halting wait.
    pub fn release_all_halting(&self, now: Tsc) {
        for slot in self.halting_slots() {
            slot.end(slot.word.load(Relaxed) >> 2, State::Halt, now, now);
        }
    }

    /// Ends every wait, and names each scheduled waiter's slot to `wake`.
    pub fn release_everyone(&self, now: Tsc, mut wake: impl FnMut(&Slot)) {
        self.release_all_halting(now);
        for slot in self.marked(&self.used) {
            if slot.end(slot.word.load(Relaxed) >> 2, State::Schedule, now, now) {
                wake(slot);
            }
        }
    }

    /// Returns a slot whose wait is over, and tells its stages.
    pub fn finish(&self, ticket: Ticket) -> Stages {
        let (slot, index) = (self.get(ticket), ticket.index());
        let stages = slot.stages();
        slot.word.store(word(ticket.use_count(), State::Free), Relaxed);
        self.halting[index / 64].fetch_and(!(1 << (index % 64)), Relaxed);
        self.used[index / 64].fetch_and(!(1 << (index % 64)), Relaxed);
        self.in_use.fetch_sub(1, Relaxed);
        stages
    }

    /// The tokens that are waited for.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        let waited_on = [State::Schedule, State::Halt].map(|state| state as u32);
        let waits = move |slot: &&Slot| waited_on.contains(&(slot.word.load(Relaxed) & 3));
        self.marked(&self.used).filter(waits).map(|slot| Token(slot.token.load(Relaxed)))
    }

    /// Slots in use.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Relaxed) as usize
    }

    fn halting_slots(&self) -> impl Iterator<Item = &Slot> {
        self.marked(&self.halting)
    }

    fn marked<'a>(&'a self, marks: &'a [AtomicU64; BLOCKS]) -> impl Iterator<Item = &'a Slot> {
        marks.iter().enumerate().flat_map(move |(block, bits)| {
            let mut rest = bits.load(Acquire);
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(&self.slots[block * 64 + bit])
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};

    fn slots() -> Box<Slots> {
        Box::default()
    }

    #[test]
    fn a_wait_is_released_once_and_reports_its_stages() {
        let s = slots();
        let ticket = s.take(Token(7), Wait::Schedule, Tsc(1)).unwrap();
        s.get(ticket).park(Tsc(2));
        assert!(!s.get(ticket).is_ready(ticket));
        assert_eq!(s.release(ticket, Tsc(3), Tsc(4)), Released::Scheduled);
        assert_eq!(s.release(ticket, Tsc(5), Tsc(6)), Released::Stale);
        assert!(s.get(ticket).is_ready(ticket));
        let stages = s.finish(ticket);
        assert_eq!((stages.fault, stages.parked), (Tsc(1), Tsc(2)));
        assert_eq!((stages.ready, stages.released), (Tsc(3), Tsc(4)));
        assert_eq!(s.in_use(), 0);
    }

    #[test]
    fn a_ticket_of_an_earlier_use_does_not_match() {
        let s = slots();
        let old = s.take(Token(7), Wait::Schedule, Tsc(0)).unwrap();
        s.release(old, Tsc(0), Tsc(0));
        s.finish(old);
        let new = s.take(Token(7), Wait::Schedule, Tsc(0)).unwrap();
        assert_eq!(old.index(), new.index());
        assert_eq!(s.release(old, Tsc(0), Tsc(0)), Released::Stale);
        assert!(!s.get(new).is_ready(new));
    }

    #[test]
    fn halting_waits_are_found_by_token() {
        let s = slots();
        let scheduled = s.take(Token(1), Wait::Schedule, Tsc(0)).unwrap();
        let halting = s.take(Token(2), Wait::Halt, Tsc(0)).unwrap();
        assert_eq!(s.tokens().collect::<Vec<_>>(), [Token(1), Token(2)]);
        assert!(!s.release_halting(Token(1), Tsc(9)));
        assert!(s.release_halting(Token(2), Tsc(9)));
        assert_eq!(s.tokens().collect::<Vec<_>>(), [Token(1)]);
        assert!(s.get(halting).is_ready(halting) && !s.get(scheduled).is_ready(scheduled));
    }

    #[test]
    fn a_scheduled_wait_is_found_by_its_token_unless_another_took_its_place() {
        let s = slots();
        let token = |n: u32| Token(n << 12 | 5);
        let older = s.take(token(1), Wait::Schedule, Tsc(0)).unwrap();
        let other = s.take(token(2), Wait::Schedule, Tsc(0)).unwrap();
        let same_place = s.take(token(1 + SLOTS as u32), Wait::Schedule, Tsc(0)).unwrap();
        assert!(s.release_scheduled(token(3), Tsc(1)).is_none() && s.is_scheduled(older));
        assert!(s.release_scheduled(token(1), Tsc(1)).is_none() && s.is_scheduled(older));
        for (n, ticket) in [(2, other), (1 + SLOTS as u32, same_place)] {
            assert!(core::ptr::eq(s.release_scheduled(token(n), Tsc(1)).unwrap(), s.get(ticket)));
            assert!(!s.is_scheduled(ticket) && s.get(ticket).is_ready(ticket));
            assert!(s.release_scheduled(token(n), Tsc(1)).is_none(), "once");
        }
    }

    #[test]
    fn a_recurring_token_finds_the_wait_that_is_not_over() {
        let s = slots();
        let outer = s.take(Token(2), Wait::Halt, Tsc(0)).unwrap();
        assert!(s.release_halting(Token(2), Tsc(1)));
        // The outer context goes on only after this nested one.
        let nested = s.take(Token(2), Wait::Halt, Tsc(2)).unwrap();
        assert!(s.release_halting(Token(2), Tsc(3)));
        assert!(s.get(outer).is_ready(outer) && s.get(nested).is_ready(nested));
        assert!(!s.release_halting(Token(2), Tsc(4)));
    }

    #[test]
    fn wake_all_of_the_halting_spares_the_scheduled() {
        let s = slots();
        let scheduled = s.take(Token(1), Wait::Schedule, Tsc(0)).unwrap();
        let halting: Vec<_> = (2..5).map(|t| s.take(Token(t), Wait::Halt, Tsc(0)).unwrap()).collect();
        s.release_all_halting(Tsc(1));
        assert!(halting.iter().all(|&t| s.get(t).is_ready(t)));
        assert!(!s.get(scheduled).is_ready(scheduled));
        let mut woken = 0;
        s.release_everyone(Tsc(2), |_| woken += 1);
        assert_eq!(woken, 1);
    }

    #[test]
    fn scheduled_waits_leave_a_reserve_for_halting_ones() {
        let s = slots();
        let take = |wait| s.take(Token(1), wait, Tsc(0));
        assert_eq!((0..SLOTS).map_while(|_| take(Wait::Schedule)).count(), SLOTS - HALT_RESERVE);
        assert_eq!((0..SLOTS).map_while(|_| take(Wait::Halt)).count(), HALT_RESERVE);
        assert_eq!(s.in_use(), SLOTS);
    }
}
