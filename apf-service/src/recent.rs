//! The last ready tokens that released nobody on this core.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::protocol::{OUTSTANDING_PER_VCPU, Token};

/// A ring of the last [`OUTSTANDING_PER_VCPU`] ready tokens handed to the
/// service thread.
///
/// A halting waiter cannot be released by the service thread, which does not
/// run while the core halts. So a not-present looks here whether its ready came
/// first. An exception in flight holds its core, so only readies of the faults
/// outstanding beside it, 63 at most, can overtake it: an early ready is among
/// the last 64. Should a recurring token match an old entry, the waiter resumes
/// spuriously, which is safe.
///
/// Owned by one core with interrupts off; atomics only make it shareable.
#[derive(Debug)]
pub struct RecentReady {
    tokens: [AtomicU32; OUTSTANDING_PER_VCPU],
    next: AtomicUsize,
}

impl Default for RecentReady {
    fn default() -> Self {
        Self { tokens: [const { AtomicU32::new(0) }; OUTSTANDING_PER_VCPU], next: AtomicUsize::new(0) }
    }
}

impl RecentReady {
    /// Remembers `token`, in place of the oldest.
    pub fn remember(&self, token: Token) {
        let next = self.next.load(Relaxed);
        self.tokens[next % OUTSTANDING_PER_VCPU].store(token.0, Relaxed);
        self.next.store(next.wrapping_add(1), Relaxed);
    }

    /// Whether `token` is remembered; it is forgotten by being asked for.
    pub fn take(&self, token: Token) -> bool {
        match self.tokens.iter().find(|t| t.load(Relaxed) == token.0) {
            Some(found) => {
                found.store(0, Relaxed);
                true
            }
            None => false,
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.tokens.iter().for_each(|t| t.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_64_and_each_once() {
        let recent = RecentReady::default();
        for t in 1..=65 {
            recent.remember(Token(t));
        }
        assert!(!recent.take(Token(1)));
        assert!(recent.take(Token(2)) && !recent.take(Token(2)));
        recent.clear();
        assert!(!recent.take(Token(65)));
    }
}
