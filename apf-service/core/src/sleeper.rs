//! Single-waiter parking: a futex word that has one sleeper at most.
//!
//! The kernel's own futex finds its sleepers by the word's address, in a hash map
//! behind a lock, which allocates for each. A wait word has one waiter, so a place
//! beside the word is enough: no lock, no search, no memory.
//!
//! ```text
//!   sleeper, interrupts off        waker
//!   exchange: its task             word = changed
//!   word as expected?              exchange: none
//!     yes: block                     there was one: wake it
//!     no: take itself back           none: nothing to do
//!         gone? a wake-up is
//!         under way: block for it
//! ```
//!
//! Of the two exchanges one is second, and sees what the other side did before its
//! own: the waker finds the task, or the task the changed word. A wake-up from
//! another core reaches the sleeper's core as an interrupt, so with interrupts off it
//! comes after the block.
#![forbid(unsafe_code)]

use core::num::NonZeroU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::sync::{AtomicU32, AtomicU64};

/// Place of a task beside a word; 0 is none.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Sleeper(AtomicU64);

/// Next step of a task that wants to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Block, without a limit.
    Block,
    /// Block until woken: a waker has taken it and is about to.
    BlockUntilWoken,
    /// Go on: the word has changed.
    GoOn,
}

impl Sleeper {
    /// No task.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn nobody() -> Self {
        Self(AtomicU64::new(0))
    }

    /// `task` wants to sleep while `word` is `expected`. Interrupts stay off from
    /// here until it is blocked.
    #[inline]
    pub fn announce(&self, task: NonZeroU64, word: &AtomicU32, expected: u32) -> Announced {
        self.0.swap(task.get(), AcqRel);
        if word.load(Acquire) == expected {
            Announced::Block
        } else if self.take().is_some() {
            Announced::GoOn
        } else {
            Announced::BlockUntilWoken
        }
    }

    /// Takes the sleeping task; of several callers one gets it. A waker has changed the word before;
    /// a sleeper whose time was up takes itself back.
    #[inline]
    pub fn take(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.swap(0, AcqRel))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_taken_once_and_only_while_the_word_is_as_it_was() {
        let (sleeper, word) = (Sleeper::nobody(), AtomicU32::new(5));
        let task = NonZeroU64::new(7).unwrap();
        assert_eq!(sleeper.take(), None);
        assert_eq!(sleeper.announce(task, &word, 5), Announced::Block);
        assert_eq!((sleeper.take(), sleeper.take()), (Some(task), None));
        assert_eq!(sleeper.announce(task, &word, 4), Announced::GoOn);
        assert_eq!(sleeper.take(), None);
    }
}
