//! Rule for halting where a wait by schedule would only cost time.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::classify::Wait;
use crate::slot::Stages;
use crate::time::Tsc;

/// Weight of a new value in a mean: one part in so many.
const WEIGHT: u64 = 8;
/// Halting is worthwhile if it saves more than one part in so many of the latency: 5 %.
const WORTH: u64 = 20;

/// Measurements of one core's waits, all in cycles. Written by that core
/// with interrupts off.
///
/// A halt saves task switches. It pays if no other task can use the core: none is ready
/// to run, and none waits on this core for another page, which could arrive first. A timer
/// or a device can still make a task ready; that task then waits until the halt ends, at
/// most `halt_below`.
/// Therefore the recent latency must be short compared with the time that a halt saves,
/// and below `halt_below`.
#[derive(Debug, Default)]
pub struct Policy {
    /// Latency in cycles from which on no context halts, and limit of a halt.
    halt_below: AtomicU64,
    /// Time that the host took.
    latency: Mean,
    /// From ready to running, by schedule and by halt, without other faults outstanding.
    back_by_schedule: Mean,
    back_by_halt: Mean,
}

/// Mean of recent values; 0 is not known yet.
#[derive(Debug, Default)]
struct Mean(AtomicU64);

impl Mean {
    #[inline]
    fn learn(&self, value: u64) {
        let mean = match self.0.load(Relaxed) {
            0 => value,
            mean => mean - mean / WEIGHT + value / WEIGHT,
        };
        self.0.store(mean.max(1), Relaxed);
    }

    /// Learns a value that is nearly constant, except when the host pauses the core.
    #[inline]
    fn learn_without_outliers(&self, value: u64) {
        let mean = self.get();
        self.learn(if mean == 0 { value } else { value.min(2 * mean) });
    }

    /// Reduces the mean a little.
    #[inline]
    fn fade(&self) {
        let mean = self.get();
        self.0.store(mean - mean / (4 * WEIGHT), Relaxed);
    }

    #[inline]
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Policy {
    /// Sets the latency in cycles from which on no context halts; with 0 none ever does.
    #[inline]
    pub fn set_halt_below(&self, cycles: u64) {
        self.halt_below.store(cycles, Relaxed);
    }

    /// Returns the limit of a halt in cycles.
    #[inline]
    pub fn halt_below(&self) -> u64 {
        self.halt_below.load(Relaxed)
    }

    /// Returns true if a context that may wait by schedule should halt: its task is the only
    /// one that can run, the core has no other fault outstanding (`outstanding` is their
    /// number), and the recent latency is known, below `halt_below`, and short enough for
    /// the time that a halt saves.
    #[inline]
    pub fn halts(&self, is_alone: bool, outstanding: u32) -> bool {
        let saved = self.back_by_schedule.get().saturating_sub(self.back_by_halt.get());
        let limit = self.halt_below.load(Relaxed).min(saved.saturating_mul(WORTH));
        let latency = self.latency.get();
        is_alone && outstanding == 0 && latency > 0 && latency < limit
    }

    /// Forgets what was learnt, since the host may be another.
    pub fn forget(&self) {
        for mean in [&self.latency, &self.back_by_schedule, &self.back_by_halt] {
            mean.0.store(0, Relaxed);
        }
    }

    /// Learns from a finished wait. With other faults outstanding, the time from ready to
    /// running depends on them, so it is not used.
    #[inline]
    pub fn learn(&self, wait: Wait, stages: &Stages, running: Tsc, outstanding: u32) {
        self.latency.learn(stages.ready.since(stages.fault));
        if outstanding == 0 {
            let back = running.since(stages.ready);
            match wait {
                Wait::Schedule => {
                    self.back_by_schedule.learn_without_outliers(back);
                    // A halt that was slow once must not count as slow forever. Its mean
                    // falls until halting is tried again.
                    self.back_by_halt.fade();
                }
                Wait::Halt | Wait::HaltFirst => self.back_by_halt.learn_without_outliers(back),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(latency: u64, waits: &[(Wait, u64)]) -> Policy {
        let policy = Policy::default();
        policy.set_halt_below(1_000_000);
        for &(wait, back) in waits {
            let stages =
                Stages { fault: Tsc(0), parked: Tsc(1), ready: Tsc(latency), released: Tsc(latency) };
            policy.learn(wait, &stages, Tsc(latency + back), 0);
        }
        policy
    }

    #[test]
    fn an_eighth_of_a_mean_is_new_and_an_outlier_counts_as_twice_the_mean() {
        let mean = Mean::default();
        mean.learn_without_outliers(8_000);
        mean.learn_without_outliers(4_000);
        assert_eq!(mean.get(), 7_500);
        mean.learn_without_outliers(1_000_000);
        assert_eq!(mean.get(), 8_438, "937 less and 1,875 more");
        mean.fade();
        assert_eq!(mean.get(), 8_175, "a 32nd less");
    }

    #[test]
    fn a_policy_without_measurements_schedules() {
        assert!(!learnt(0, &[]).halts(true, 0));
        assert!(!learnt(100, &[(Wait::Halt, 10)]).halts(true, 0));
    }

    #[test]
    fn a_task_alone_halts_for_pages_that_come_fast_compared_with_the_time_saved() {
        let spares_30 = [(Wait::Schedule, 40), (Wait::Halt, 10)];
        assert!(learnt(599, &spares_30).halts(true, 0));
        assert!(!learnt(600, &spares_30).halts(true, 0));
        assert!(!learnt(599, &spares_30).halts(false, 0));
        assert!(!learnt(599, &spares_30).halts(true, 1));
        let spares_nothing = [(Wait::Schedule, 10), (Wait::Halt, 10)];
        assert!(!learnt(5, &spares_nothing).halts(true, 0));
    }

    #[test]
    fn the_limit_overrules_the_measurements() {
        let policy = learnt(599, &[(Wait::Schedule, 40), (Wait::Halt, 10)]);
        policy.set_halt_below(599);
        assert!(!policy.halts(true, 0));
        policy.set_halt_below(0);
        assert!(!policy.halts(true, 0));
    }

    #[test]
    fn a_slow_page_changes_the_decision_at_once_and_fast_ones_after_some() {
        let policy = learnt(100, &[(Wait::Schedule, 40), (Wait::Halt, 10)]);
        let slow = Stages { fault: Tsc(0), parked: Tsc(1), ready: Tsc(50_000), released: Tsc(50_000) };
        policy.learn(Wait::Halt, &slow, Tsc(50_010), 0);
        assert!(!policy.halts(true, 0), "{policy:?}");
        let fast = Stages { ready: Tsc(100), released: Tsc(100), ..slow };
        let fasts = (1..1_000).find(|_| {
            policy.learn(Wait::Schedule, &fast, Tsc(140), 0);
            policy.halts(true, 0)
        });
        assert!(fasts.is_some_and(|count| (2..30).contains(&count)), "{fasts:?}");
    }

    #[test]
    fn an_outlier_changes_little_and_nothing_for_ever() {
        let policy = learnt(100, &[(Wait::Schedule, 40), (Wait::Halt, 10)]);
        let stages = Stages { fault: Tsc(0), parked: Tsc(1), ready: Tsc(100), released: Tsc(100) };
        policy.learn(Wait::Halt, &stages, Tsc(1_000_000), 0);
        assert!(policy.halts(true, 0), "{policy:?}");
        let slow_halt = learnt(100, &[(Wait::Schedule, 40), (Wait::Halt, 80)]);
        let tries = (1..1_000).find(|_| {
            slow_halt.learn(Wait::Schedule, &stages, Tsc(140), 0);
            slow_halt.halts(true, 0)
        });
        assert!(tries.is_some_and(|count| (5..200).contains(&count)), "{tries:?}");
    }

    #[test]
    fn a_way_back_among_others_is_not_learnt() {
        let policy = learnt(100, &[(Wait::Schedule, 12), (Wait::Halt, 10)]);
        let stages = Stages { fault: Tsc(0), parked: Tsc(1), ready: Tsc(100), released: Tsc(100) };
        (0..100).for_each(|_| policy.learn(Wait::Schedule, &stages, Tsc(9_000), 3));
        assert!(!policy.halts(true, 0), "{policy:?}");
    }
}
