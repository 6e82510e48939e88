//! Ready tokens that came before their fault.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use crate::event::Generation;
use crate::protocol::{OUTSTANDING_PER_VCPU, Token};
use crate::sync::{AtomicU32, AtomicU64};

/// Entries: as many ready tokens as can overtake an exception in flight.
const ENTRIES: usize = if cfg!(loom) { 1 } else { OUTSTANDING_PER_VCPU };

/// Number of early ready tokens that all cores together remember. While it is 0, which
/// is nearly always, no fault looks at the other cores.
#[derive(Debug, Default)]
pub struct EarlyCount(AtomicU32);

impl EarlyCount {
    /// Zero.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Returns the number.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// The last [`OUTSTANDING_PER_VCPU`] ready tokens of a core without a waiter.
///
/// An exception in flight holds its core, so only ready tokens of the faults outstanding
/// beside it, 63 at most, can overtake it: an early ready is among the last 64. Should
/// a reused token match an old entry, the waiter resumes spuriously, which is safe.
///
/// Written by one core with interrupts off; any core, and the service thread, may take
/// an entry.
#[derive(Debug)]
pub struct EarlyReady {
    /// Generation and token; 0 is none, since no token of a fault is.
    entries: [AtomicU64; ENTRIES],
    next: AtomicU32,
    /// Bit set: the entry may hold something, so that looking takes a step or two.
    /// Written by the core itself alone; whoever takes an entry leaves its bit for
    /// [`remember`](Self::remember) to clear.
    filled: AtomicU64,
}

impl Default for EarlyReady {
    fn default() -> Self {
        Self {
            entries: core::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicU32::new(0),
            filled: AtomicU64::new(0),
        }
    }
}

const fn entry(token: Token, generation: Generation) -> u64 {
    (generation.0 as u64) << 32 | token.0 as u64
}

impl EarlyReady {
    /// Remembers that `token` came in this `generation` of the core, in place of the
    /// oldest. Once is enough for a token that comes again.
    #[inline]
    pub fn remember(&self, token: Token, generation: Generation, count: &EarlyCount) {
        let new = entry(token, generation);
        let held = |place: &usize| self.entries[*place].load(Relaxed);
        if self.filled().any(|place| held(&place) == new) {
            return;
        }
        let next = self.next.load(Relaxed);
        let place = next as usize % ENTRIES;
        let filled = self.filled().filter(|place| held(place) != 0);
        let filled = filled.fold(1 << place, |bits, old| bits | 1 << old);
        // First, so that it never falls below 0.
        count.0.fetch_add(1, Relaxed);
        if self.entries[place].swap(new, Relaxed) != 0 {
            count.0.fetch_sub(1, Relaxed);
        }
        self.filled.store(filled, Relaxed);
        self.next.store(next.wrapping_add(1), Relaxed);
    }

    /// Takes `token` if it came in this `generation`; used when fault and ready event are on
    /// the same core.
    #[inline]
    pub fn take(&self, token: Token, generation: Generation, count: &EarlyCount) -> bool {
        self.take_if(|found| found == entry(token, generation), count)
    }

    /// Takes `token` if it came in any generation; used for a fault of another core, which
    /// counts generations separately.
    #[inline]
    pub fn take_of_any_generation(&self, token: Token, count: &EarlyCount) -> bool {
        self.take_if(|found| found as u32 == token.0, count)
    }

    /// Returns how many tokens are remembered.
    #[inline]
    pub fn len(&self) -> usize {
        self.filled().filter(|&place| self.entries[place].load(Relaxed) != 0).count()
    }

    /// Returns whether no token is remembered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an entry by exchange: of two that want it, one has it.
    fn take_if(&self, wanted: impl Fn(u64) -> bool, count: &EarlyCount) -> bool {
        let taken = self.filled().map(|place| &self.entries[place]).any(|entry| {
            let found = entry.load(Relaxed);
            wanted(found) && entry.compare_exchange(found, 0, Relaxed, Relaxed).is_ok()
        });
        if taken {
            count.0.fetch_sub(1, Relaxed);
        }
        taken
    }

    /// Returns the places of entries that may hold something.
    #[inline]
    fn filled(&self) -> impl Iterator<Item = usize> + use<> {
        let mut rest = self.filled.load(Relaxed);
        core::iter::from_fn(move || {
            let place = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(place)
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FIRST: Generation = Generation(3);

    #[test]
    fn the_last_64_are_remembered_and_each_is_taken_once() {
        let (early, count) = (EarlyReady::default(), EarlyCount::new());
        for t in 1..=65 {
            early.remember(Token(t), FIRST, &count);
        }
        assert_eq!((early.len(), early.is_empty(), count.get()), (64, false, 64));
        assert!(!early.take(Token(1), FIRST, &count));
        assert!(early.take(Token(2), FIRST, &count) && !early.take(Token(2), FIRST, &count));
        assert_eq!((early.len(), count.get()), (63, 63));
    }

    #[test]
    fn an_earlier_generation_matches_only_for_other_cores() {
        let (early, count) = (EarlyReady::default(), EarlyCount::new());
        early.remember(Token(5), FIRST, &count);
        assert!(!early.take(Token(5), Generation(4), &count));
        let take = || early.take_of_any_generation(Token(5), &count);
        assert!(take() && !take());
        assert!(early.is_empty() && count.get() == 0);
    }

    #[test]
    fn a_token_that_comes_again_is_remembered_once() {
        let (early, count) = (EarlyReady::default(), EarlyCount::new());
        (0..3).for_each(|_| early.remember(Token(5), FIRST, &count));
        assert_eq!((early.len(), count.get()), (1, 1));
    }
}
