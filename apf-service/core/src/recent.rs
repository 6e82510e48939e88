//! The last ready tokens that released nobody on this core.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use crate::event::Generation;
use crate::protocol::{OUTSTANDING_PER_VCPU, Token};
use crate::sync::{AtomicU32, AtomicU64};

/// Entries: as many readies as can overtake an exception in flight.
const ENTRIES: usize = if cfg!(loom) { 1 } else { OUTSTANDING_PER_VCPU };

/// A ring of the last [`OUTSTANDING_PER_VCPU`] ready tokens handed to the
/// service thread, because no waiter of theirs was found.
///
/// A halting waiter cannot be released by the service thread, which may not
/// run while the core halts. So a not-present looks here whether its ready came
/// first. An exception in flight holds its core, so only readies of the faults
/// outstanding beside it, 63 at most, can overtake it: an early ready is among
/// the last 64. Should a recurring token match an old entry, the waiter resumes
/// spuriously, which is safe.
///
/// Written by one core with interrupts off; any core may take an entry.
#[derive(Debug)]
pub struct RecentReady {
    /// Life and token; 0 is none, since no token of a fault is.
    entries: [AtomicU64; ENTRIES],
    next: AtomicU32,
    /// Bit set: the entry may hold something. Most readies are matched at once and
    /// forgotten, so looking takes a step or two. Written by the core itself alone;
    /// whoever takes an entry leaves its bit for [`remember`](Self::remember) to clear.
    filled: AtomicU64,
}

impl Default for RecentReady {
    fn default() -> Self {
        Self {
            entries: core::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicU32::new(0),
            filled: AtomicU64::new(0),
        }
    }
}

const fn entry(token: Token, life: Generation) -> u64 {
    (life.0 as u64) << 32 | token.0 as u64
}

impl RecentReady {
    /// Remembers that `token` came in this `life` of the core, in place of the oldest.
    pub fn remember(&self, token: Token, life: Generation) {
        let next = self.next.load(Relaxed);
        let place = next as usize % ENTRIES;
        let filled = self.filled().filter(|&old| self.entries[old].load(Relaxed) != 0);
        let filled = filled.fold(1 << place, |bits, old| bits | 1 << old);
        self.entries[place].store(entry(token, life), Relaxed);
        self.filled.store(filled, Relaxed);
        self.next.store(next.wrapping_add(1), Relaxed);
    }

    /// Whether `token` came in this `life`; it is forgotten by being asked for.
    pub fn take(&self, token: Token, life: Generation) -> bool {
        self.take_if(|found| found == entry(token, life))
    }

    /// The same of any life of this core. The fault was another core's, whose
    /// lives are its own.
    pub fn take_of_any_life(&self, token: Token) -> bool {
        self.take_if(|found| found as u32 == token.0)
    }

    /// By exchange: of two that ask, one takes it.
    fn take_if(&self, wanted: impl Fn(u64) -> bool) -> bool {
        self.filled().map(|place| &self.entries[place]).any(|entry| {
            let found = entry.load(Relaxed);
            wanted(found) && entry.compare_exchange(found, 0, Relaxed, Relaxed).is_ok()
        })
    }

    /// The places of entries that may hold something.
    fn filled(&self) -> impl Iterator<Item = usize> + use<> {
        let mut rest = self.filled.load(Relaxed);
        core::iter::from_fn(move || {
            let place = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Generation = Generation(3);

    #[test]
    fn remembers_the_last_64_and_each_once() {
        let recent = RecentReady::default();
        for t in 1..=65 {
            recent.remember(Token(t), LIFE);
        }
        assert!(!recent.take(Token(1), LIFE));
        assert!(recent.take(Token(2), LIFE) && !recent.take(Token(2), LIFE));
    }

    #[test]
    fn an_earlier_life_matches_only_for_others() {
        let recent = RecentReady::default();
        recent.remember(Token(5), LIFE);
        assert!(!recent.take(Token(5), Generation(4)));
        assert!(recent.take_of_any_life(Token(5)) && !recent.take_of_any_life(Token(5)));
    }
}
