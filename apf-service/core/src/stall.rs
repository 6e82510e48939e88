//! Stall time: how long something had to wait for pages.
//!
//! The two kinds are those of Linux for memory (pressure stall information, PSI:
//! `Documentation/accounting/psi.rst`, `kernel/sched/psi.c`), for one core:
//!
//! | kind | time in which |
//! |---|---|
//! | some | at least one task is delayed |
//! | full | besides, none does work |
#![forbid(unsafe_code)]

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::time::Tsc;

/// Time that a core has spent in a state, the time under way included.
///
/// ```text
///   outside the state    published = 2 · total
///   in the state         published = 2 · (total − since) + 1
/// ```
///
/// So a reader finds total and start in one word, and never halves of two states.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct StateTime {
    published: AtomicU64,
    /// Start of the time under way, or of the last one.
    since: AtomicU64,
}

impl StateTime {
    /// Enters the state.
    #[inline]
    pub(crate) fn begin(&self, now: Tsc) {
        debug_assert!(!self.is_under_way(), "begun twice");
        let published = self.published.load(Relaxed);
        self.published.store(published.wrapping_sub(now.0 << 1) | 1, Release);
        self.since.store(now.0, Relaxed);
    }

    /// Leaves the state. If the counter went backwards in it, which a restored guest may find,
    /// it counts as no time.
    #[inline]
    pub(crate) fn end(&self, now: Tsc) {
        debug_assert!(self.is_under_way(), "ended twice");
        let published = self.published.load(Relaxed);
        let end = now.0.max(self.since.load(Relaxed));
        self.published.store(published.wrapping_add(end << 1).wrapping_sub(1), Release);
    }

    #[inline]
    pub(crate) fn is_under_way(&self) -> bool {
        self.published.load(Relaxed) & 1 == 1
    }

    #[cold]
    fn restart(&self, now: Tsc) {
        if self.is_under_way() {
            self.end(now);
            self.begin(now);
        }
    }
}

/// Returns the total in cycles until `now`; of a stall that begins later, nothing.
fn total(published: u64, now: Tsc) -> u64 {
    if published & 1 == 0 {
        return published >> 1;
    }
    // Negative if the reader's counter is behind.
    let doubled = (published & !1).wrapping_add(now.0 << 1).cast_signed();
    (doubled >> 1).max(0).cast_unsigned()
}

/// Stall time of one core. Written by that core with interrupts off, readable from anywhere at
/// any time. Two of its states are never under way at once but `idle` within `scheduled`, so that
/// a fault changes few of them.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Stall {
    /// A context waits by schedule, and none halts.
    pub(crate) scheduled: StateTime,
    /// The part of it in which no task can run.
    pub(crate) idle: StateTime,
    /// A context halts.
    pub(crate) halting: StateTime,
}

/// Stall time until a moment, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallTime {
    /// The moment.
    pub at: Tsc,
    /// Time in which a context waited for a page.
    pub some: u64,
    /// The part of it in which no task could run: the core idled or halted.
    pub full: u64,
}

impl Stall {
    /// Reads the time, the time under way included. `now` reads the caller's counter. Where the counters of
    /// two cores differ, a later time may be less by that difference.
    pub fn read(&self, mut now: impl FnMut() -> Tsc) -> StallTime {
        // A core whose state changes all the time does not keep the reader: then the three are
        // not of one moment, which is a small error.
        let mut tries = 100;
        let ([scheduled, idle, halting], at) = loop {
            tries -= 1;
            let (first, at, second) = (self.published(), now(), self.published());
            if tries == 0 || first == second {
                break (second.map(|published| total(published, at)), at);
            }
        };
        let some = scheduled + halting;
        StallTime { at, some, full: (idle + halting).min(some) }
    }

    /// Returns the states. If two readings are the same, the states were these at each moment between:
    ///
    /// ```text
    ///   core                                reader
    ///   scheduled: ends (Release)           reads all three (Acquire)
    ///   halting: begins (Release)           reads the counter
    ///                                       reads all three again: the same
    /// ```
    ///
    /// No state returns to an earlier value except after no time.
    fn published(&self) -> [u64; 3] {
        [&self.scheduled, &self.idle, &self.halting].map(|time| time.published.load(Acquire))
    }

    /// Returns when the core was last left without a task that could run while one waited for a page. Every
    /// task that was ready before has run by then.
    #[must_use]
    pub fn last_idle(&self) -> Tsc {
        Tsc(self.idle.since.load(Relaxed))
    }

    /// Starts the time under way anew, since the counter may be another one from now on.
    pub(crate) fn restart(&self, now: Tsc) {
        for time in [&self.scheduled, &self.idle, &self.halting] {
            time.restart(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(time: &StateTime, now: u64) -> u64 {
        total(time.published.load(Relaxed), Tsc(now))
    }

    #[test]
    fn the_time_under_way_counts_at_each_moment() {
        let time = StateTime::default();
        assert_eq!(read(&time, 99), 0);
        time.begin(Tsc(100));
        assert_eq!([100, 101, 150].map(|now| read(&time, now)), [0, 1, 50]);
        time.end(Tsc(160));
        assert_eq!([160, 1000].map(|now| read(&time, now)), [60, 60]);
        time.begin(Tsc(2000));
        assert_eq!(read(&time, 2003), 63);
        time.end(Tsc(2004));
        assert_eq!(read(&time, 0), 64);
    }

    #[test]
    fn a_reader_whose_counter_is_behind_never_sees_a_huge_time() {
        let time = StateTime::default();
        time.begin(Tsc(1000));
        assert_eq!(read(&time, 990), 0);
        time.end(Tsc(1100));
        time.begin(Tsc(2000));
        assert_eq!(read(&time, 1995), 95, "less by the difference of the counters");
        assert_eq!(read(&time, 0), 0);
    }

    #[test]
    fn a_counter_that_goes_backwards_adds_no_time() {
        let time = StateTime::default();
        time.begin(Tsc(5000));
        time.end(Tsc(7));
        assert_eq!(read(&time, 8), 0);
        time.begin(Tsc(5000));
        time.restart(Tsc(7));
        assert_eq!(read(&time, 10), 3);
        time.end(Tsc(12));
        time.restart(Tsc(20));
        assert_eq!(read(&time, 30), 5, "nothing was under way");
    }

    /// What was read first would be a stall of 1,000,000 by then, and a state that no longer is.
    #[test]
    fn a_reader_that_was_interrupted_reads_again() {
        let stall = Stall::default();
        stall.scheduled.begin(Tsc(100));
        let mut reads = 0;
        let time = stall.read(|| {
            reads += 1;
            if reads > 1 {
                return Tsc(1_000_120);
            }
            stall.scheduled.end(Tsc(120));
            stall.halting.begin(Tsc(120));
            stall.halting.end(Tsc(130));
            Tsc(1_000_110)
        });
        assert_eq!(time, StallTime { at: Tsc(1_000_120), some: 30, full: 10 });
    }

    #[test]
    fn a_state_that_changes_all_the_time_does_not_keep_its_reader() {
        let stall = Stall::default();
        let mut now = 0;
        let time = stall.read(|| {
            now += 100_000;
            if stall.halting.is_under_way() {
                stall.halting.end(Tsc(now));
            } else {
                stall.halting.begin(Tsc(now));
            }
            Tsc(now)
        });
        assert!(time.some == time.full && time.some <= now);
    }

    /// One thread stalls all the time, now by one state and now by the other; the sum that
    /// another one reads is never less than before, and never more than the time.
    #[test]
    fn readings_beside_the_core_never_go_back() {
        extern crate std;
        let (stall, clock) = (Stall::default(), AtomicU64::new(1));
        stall.scheduled.begin(Tsc(1));
        std::thread::scope(|scope| {
            let core = scope.spawn(|| {
                for time in 2..200_000 {
                    clock.store(time, Release);
                    if time % 2 == 0 {
                        stall.scheduled.end(Tsc(time));
                        stall.halting.begin(Tsc(time));
                    } else {
                        stall.halting.end(Tsc(time));
                        stall.scheduled.begin(Tsc(time));
                    }
                    // A state lasts far longer than a reading. Else the reader would give up.
                    (0..20).for_each(|_| core::hint::spin_loop());
                }
            });
            let mut before = StallTime { at: Tsc(1), some: 0, full: 0 };
            while !core.is_finished() {
                let time = stall.read(|| Tsc(clock.load(Acquire)));
                assert!(time.full <= time.some && time.some <= time.at.0, "{time:?}");
                assert!(time.some >= before.some && time.full >= before.full, "{before:?}, then {time:?}");
                before = time;
            }
        });
        let time = stall.read(|| Tsc(200_000));
        assert_eq!((time.some, time.full), (199_999, 99_999));
    }
}
