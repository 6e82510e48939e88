//! Wait slots: the per-core table of waiters.
//!
//! A slot is an entry of that table: token, kind and state of the wait, its times, and
//! the sleeping task. Nothing else records a waiter (docs/adr/0010-one-table-of-who-waits.md).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::classify::Wait;
use crate::protocol::Token;
use crate::slot::{HALT_RESERVE, INDEX_BITS, NewWait, SLOTS, Slot, Stages, State, Ticket, wait_of, word};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64};
use crate::time::Tsc;

/// Words of a bitmap with one bit for each slot.
const BLOCKS: usize = SLOTS.div_ceil(64);

/// The slots of one core. Taken and returned by that core with interrupts
/// off; released from anywhere.
#[derive(Debug)]
pub struct Slots {
    slots: [Slot; SLOTS],
    /// Bit set: slot in use. Written by this core alone.
    used: [AtomicU64; BLOCKS],
    in_use: AtomicU32,
    /// Slot most recently taken by a token of this index. A hint: another token may own it
    /// now.
    by_token: [AtomicU8; SLOTS],
}

/// Index of a token in [`Slots::by_token`]. KVM counts its faults in the bits above
/// the lowest twelve, which are the core's number (`kvm_arch_setup_async_pf`), so
/// that those outstanding are neighbours, and each has an index of its own.
const fn place(token: Token) -> usize {
    (token.0 >> 12) as usize % SLOTS
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: core::array::from_fn(|_| Slot::default()),
            used: core::array::from_fn(|_| AtomicU64::new(0)),
            in_use: AtomicU32::new(0),
            by_token: core::array::from_fn(|_| AtomicU8::new(0)),
        }
    }
}

impl Slots {
    /// Takes a free slot for a wait; `None` when there is none for this kind.
    #[inline]
    pub fn take(&self, new: NewWait) -> Option<Ticket> {
        let (state, limit) = match new.wait {
            Wait::Schedule => (State::Schedule, SLOTS - HALT_RESERVE),
            Wait::Halt | Wait::HaltFirst => (State::Halt, SLOTS),
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
        self.mark(index, true);
        let slot = &self.slots[index];
        let use_count = ((slot.word.load(Relaxed) >> 2) + 1) % (1 << (32 - INDEX_BITS));
        slot.token.store(new.token.0, Relaxed);
        slot.fault.store(new.fault.0, Relaxed);
        slot.rip.store(new.rip, Relaxed);
        slot.word.store(word(use_count, state), Release);
        self.by_token[place(new.token)].store(index as u8, Relaxed);
        Some(Ticket::new(use_count, index))
    }

    /// Marks a slot as used or free: load and store, since one core alone writes.
    #[inline]
    fn mark(&self, index: usize, used: bool) {
        let (block, bit) = (&self.used[index / 64], 1 << (index % 64));
        let (bits, in_use) = (block.load(Relaxed), self.in_use.load(Relaxed));
        block.store(if used { bits | bit } else { bits & !bit }, Release);
        self.in_use.store(if used { in_use + 1 } else { in_use - 1 }, Relaxed);
    }

    /// Returns the slot of a ticket.
    #[inline]
    pub fn get(&self, ticket: Ticket) -> &Slot {
        &self.slots[ticket.index()]
    }

    /// Finds the wait for `token`, and its wait word. Looks at the slot that the token's
    /// index names, and if that is another token's, at all slots in use. A finished wait may
    /// still hold a slot with the same token: token values are reused, and nested halts end
    /// innermost first. Such a slot is skipped.
    #[inline]
    fn find(&self, token: Token) -> Option<(&Slot, u32)> {
        let found = |slot: &'_ Slot| slot.waits_for(token);
        let hinted = self.hinted(token);
        match found(hinted) {
            Some(word) => Some((hinted, word)),
            None => self.used().find_map(|slot| Some((slot, slot.waits_for(token)?))),
        }
    }

    #[inline]
    fn hinted(&self, token: Token) -> &Slot {
        &self.slots[usize::from(self.by_token[place(token)].load(Relaxed)) % SLOTS]
    }

    /// Ends the wait for `token`, whose page became ready at `ready`: returns its slot,
    /// whose sleeper is to be woken if it waits by schedule.
    ///
    /// In another core's table the slot may have been reused meanwhile; it is then left
    /// unchanged: the wait for `token` was over.
    #[inline]
    pub fn release(&self, token: Token, ready: Tsc, now: Tsc) -> Option<(&Slot, Wait)> {
        let (slot, word) = self.find(token)?;
        slot.end(word, ready, now).map(|wait| (slot, wait))
    }

    /// Ends the wait for `token` if it is by halt.
    #[inline]
    pub fn release_halting(&self, token: Token, now: Tsc) -> bool {
        let found = self.find(token).filter(|&(_, word)| wait_of(word) == Some(Wait::Halt));
        found.is_some_and(|(slot, word)| slot.end(word, now, now).is_some())
    }

    /// Ends the older wait when the host reuses its token: the waiter retries, which is
    /// always safe. Looks at the hint only, since a host that counts its faults does not
    /// do this.
    #[inline]
    pub fn displace(&self, token: Token, now: Tsc) -> Option<(&Slot, Wait)> {
        let slot = self.hinted(token);
        let word = slot.waits_for(token)?;
        slot.end(word, now, now).map(|wait| (slot, wait))
    }

    /// Ends every wait of kind `only`, or of both, and calls `on_each` with each slot.
    /// Returns their number.
    pub fn release_all(&self, only: Option<Wait>, now: Tsc, mut on_each: impl FnMut(&Slot, Wait)) -> usize {
        let wanted = |word: &u32| only.is_none() || wait_of(*word) == only;
        let mut count = 0;
        for slot in self.used() {
            if let Some(word) = slot.waits().filter(wanted)
                && let Some(wait) = slot.end(word, now, now)
            {
                on_each(slot, wait);
                count += 1;
            }
        }
        count
    }

    /// Ends a wait by schedule that has lasted longer than `limit` cycles, if there is one.
    #[inline]
    pub fn release_overdue(&self, now: Tsc, limit: u64) -> Option<&Slot> {
        self.overdue(now, limit).find_map(|(slot, word)| slot.end(word, now, now).map(|_| slot))
    }

    /// Returns whether a wait by schedule has lasted longer than `limit` cycles.
    pub fn has_overdue(&self, now: Tsc, limit: u64) -> bool {
        self.overdue(now, limit).next().is_some()
    }

    /// Returns the waits by schedule that have lasted longer than `limit` cycles, and their words.
    fn overdue(&self, now: Tsc, limit: u64) -> impl Iterator<Item = (&Slot, u32)> {
        self.used().filter_map(move |slot| {
            let word = slot.waits().filter(|&word| wait_of(word) == Some(Wait::Schedule))?;
            (now.since(slot.since()) > limit).then_some((slot, word))
        })
    }

    /// Lets a wait by halt go on by schedule; `false` if it is over.
    ///
    /// ```text
    ///   waiter, past its limit          ready on this core or another
    ///   word: halt → schedule           word: halt → ready
    ///     done: blocks on the word        done: interrupts the halting core
    ///     failed: goes on                 failed: leaves it to the service thread,
    ///                                       which ends waits of both kinds
    /// ```
    ///
    /// Of the two exchanges one fails. Relaxed: nothing that others read was written.
    pub fn schedule_instead(&self, ticket: Ticket) -> bool {
        let [halt, schedule] = [State::Halt, State::Schedule].map(|state| word(ticket.use_count(), state));
        self.get(ticket).word.compare_exchange(halt, schedule, Relaxed, Relaxed).is_ok()
    }

    /// Ends a wait by halt for want of its ready; `false` if it is over.
    pub fn give_up_halt(&self, ticket: Ticket, now: Tsc) -> bool {
        self.get(ticket).end(word(ticket.use_count(), State::Halt), now, now).is_some()
    }

    /// Frees the slot of a finished wait, and returns the wait's stages. (The order does
    /// not matter: no other core takes slots here, and interrupts are off.)
    #[inline]
    pub fn finish(&self, ticket: Ticket) -> Stages {
        let slot = self.get(ticket);
        let stages = slot.stages();
        slot.word.store(word(ticket.use_count(), State::Free), Relaxed);
        self.mark(ticket.index(), false);
        stages
    }

    /// Returns the tokens that are waited for.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.used().filter(|slot| slot.waits().is_some()).map(|slot| slot.origin().0)
    }

    /// Returns the number of slots in use.
    #[inline]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Relaxed) as usize
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.used.iter().enumerate().flat_map(move |(block, bits)| {
            let mut rest = bits.load(Acquire);
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(&self.slots[block * 64 + bit])
            })
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};

    fn slots() -> Box<Slots> {
        Box::default()
    }

    fn take(slots: &Slots, token: u32, wait: Wait) -> Option<Ticket> {
        slots.take(NewWait { token: Token(token), wait, fault: Tsc(1), rip: 0xabc })
    }

    fn release(slots: &Slots, token: u32) -> Option<Wait> {
        slots.release(Token(token), Tsc(3), Tsc(4)).map(|(_, wait)| wait)
    }

    #[test]
    fn a_wait_is_released_once_and_reports_its_stages() {
        let s = slots();
        let ticket = take(&s, 7, Wait::Schedule).unwrap();
        s.get(ticket).park(Tsc(2));
        assert!(!s.get(ticket).is_ready(ticket));
        assert_eq!((release(&s, 7), release(&s, 7)), (Some(Wait::Schedule), None));
        assert!(s.get(ticket).is_ready(ticket));
        assert_eq!(s.get(ticket).origin(), (Token(7), 0xabc));
        let stages = s.finish(ticket);
        assert_eq!((stages.fault, stages.parked), (Tsc(1), Tsc(2)));
        assert_eq!((stages.ready, stages.released), (Tsc(3), Tsc(4)));
        assert_eq!(s.in_use(), 0);
    }

    #[test]
    fn a_word_of_an_earlier_use_does_not_match() {
        let s = slots();
        let old = take(&s, 7, Wait::Schedule).unwrap();
        let (slot, word) = s.find(Token(7)).unwrap();
        release(&s, 7);
        s.finish(old);
        let new = take(&s, 7, Wait::Schedule).unwrap();
        assert_eq!((old.index(), slot.end(word, Tsc(0), Tsc(0))), (new.index(), None));
        assert!(old != new && !s.get(new).is_ready(new) && !s.get(new).is_ready(old));
        release(&s, 7);
        assert!(s.get(new).is_ready(new) && !s.get(new).is_ready(old));
    }

    #[test]
    fn use_counts_wrap() {
        let s = slots();
        let before = take(&s, 7, Wait::Schedule).unwrap();
        let last = (1 << (32 - INDEX_BITS)) - 1;
        s.get(before).word.store(word(last - 1, State::Free), Relaxed);
        s.mark(before.index(), false);
        let at_last = take(&s, 7, Wait::Schedule).unwrap();
        assert_eq!(at_last.use_count(), last);
        release(&s, 7);
        s.finish(at_last);
        let wrapped = take(&s, 7, Wait::Halt).unwrap();
        assert_eq!((wrapped.use_count(), wrapped.index()), (0, before.index()));
        assert_eq!(release(&s, 7), Some(Wait::Halt));
        assert!(s.get(wrapped).is_ready(wrapped));
    }

    #[test]
    fn waits_of_both_kinds_are_found_by_token_and_a_halt_can_be_asked_for() {
        let s = slots();
        let (scheduled, halting) = (take(&s, 1, Wait::Schedule).unwrap(), take(&s, 2, Wait::Halt).unwrap());
        assert_eq!(s.tokens().collect::<Vec<_>>(), [Token(1), Token(2)]);
        assert!(!s.release_halting(Token(1), Tsc(9)) && !s.release_halting(Token(3), Tsc(9)));
        assert!(s.release_halting(Token(2), Tsc(9)) && !s.release_halting(Token(2), Tsc(9)));
        assert_eq!(s.tokens().collect::<Vec<_>>(), [Token(1)]);
        assert!(s.get(halting).is_ready(halting) && !s.get(scheduled).is_ready(scheduled));
        assert_eq!((release(&s, 3), release(&s, 1)), (None, Some(Wait::Schedule)));
    }

    #[test]
    fn a_wait_is_found_although_another_token_has_taken_its_place() {
        let s = slots();
        let token = |n: u32| n << 12 | 5;
        let same_place = 1 + SLOTS as u32;
        let tickets = [1, 2, same_place].map(|n| take(&s, token(n), Wait::Schedule).unwrap());
        assert_eq!(release(&s, token(3)), None);
        for (n, ticket) in [1, 2, same_place].into_iter().zip(tickets) {
            let (slot, wait) = s.release(Token(token(n)), Tsc(1), Tsc(1)).unwrap();
            assert!(core::ptr::eq(slot, s.get(ticket)) && wait == Wait::Schedule);
            assert_eq!(release(&s, token(n)), None, "once");
        }
    }

    #[test]
    fn a_token_that_is_used_again_displaces_its_older_wait_beside_its_neighbours() {
        let s = slots();
        let tickets = [1, 2, 3].map(|n| take(&s, n << 12, Wait::Schedule).unwrap());
        for (n, ticket) in (1..).zip(tickets) {
            let (slot, _) = s.displace(Token(n << 12), Tsc(1)).unwrap();
            assert!(core::ptr::eq(slot, s.get(ticket)) && s.displace(Token(n << 12), Tsc(1)).is_none());
        }
    }

    #[test]
    fn a_recurring_token_finds_the_wait_that_is_not_over() {
        let s = slots();
        let outer = take(&s, 2, Wait::Halt).unwrap();
        assert!(s.release_halting(Token(2), Tsc(1)));
        // The outer context goes on only after this nested one.
        let nested = take(&s, 2, Wait::Halt).unwrap();
        assert!(s.release_halting(Token(2), Tsc(3)));
        assert!(s.get(outer).is_ready(outer) && s.get(nested).is_ready(nested));
        assert!(!s.release_halting(Token(2), Tsc(4)));
    }

    #[test]
    fn all_waits_or_those_of_one_kind_are_released() {
        let s = slots();
        let scheduled = take(&s, 1, Wait::Schedule).unwrap();
        let halting: Vec<_> = (2..5).map(|t| take(&s, t, Wait::Halt).unwrap()).collect();
        let mut seen = Vec::new();
        assert_eq!(s.release_all(Some(Wait::Schedule), Tsc(1), |_, wait| seen.push(wait)), 1);
        assert!(s.get(scheduled).is_ready(scheduled));
        assert!(halting.iter().all(|&t| !s.get(t).is_ready(t)));
        assert_eq!(s.release_all(None, Tsc(2), |_, wait| seen.push(wait)), 3);
        assert_eq!(seen, [Wait::Schedule, Wait::Halt, Wait::Halt, Wait::Halt]);
        assert!(halting.iter().all(|&t| s.get(t).is_ready(t)));
    }

    #[test]
    fn an_overdue_wait_by_schedule_is_released_once() {
        let s = slots();
        take(&s, 1, Wait::Schedule).unwrap();
        take(&s, 2, Wait::Halt).unwrap();
        assert!(s.release_overdue(Tsc(11), 10).is_none());
        assert_eq!(s.release_overdue(Tsc(12), 10).unwrap().origin().0, Token(1));
        assert!(s.release_overdue(Tsc(12), 10).is_none(), "once, and no halt");
    }

    #[test]
    fn scheduled_waits_leave_a_reserve_for_halting_ones() {
        let s = slots();
        assert_eq!((0..SLOTS).map_while(|_| take(&s, 1, Wait::Schedule)).count(), SLOTS - HALT_RESERVE);
        assert_eq!((0..SLOTS).map_while(|_| take(&s, 1, Wait::Halt)).count(), HALT_RESERVE);
        assert_eq!(s.in_use(), SLOTS);
    }
}
