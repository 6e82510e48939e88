//! What a core counts and measures.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::classify::Wait;
use crate::histogram::Histogram;
use crate::slots::Stages;
use crate::time::Tsc;

/// A counter that only grows.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Raises the counter to `value` if it is lower (for high-water marks).
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Durations of the stages of a wait, in cycles of the time-stamp counter.
#[derive(Debug, Default)]
#[repr(C)]
pub struct StageHistograms {
    /// #PF delivered → about to block or halt.
    pub fault_to_parked: Histogram,
    /// #PF delivered → ready interrupt: the host's time.
    pub host: Histogram,
    /// Ready interrupt → wait word set (by the service thread, or by the
    /// interrupt itself for a halting waiter).
    pub ready_to_service: Histogram,
    /// Ready interrupt → running again.
    pub ready_to_running: Histogram,
    /// #PF delivered → running again.
    pub total: Histogram,
}

/// Counters and histograms of one core. Written by that core (the service's
/// own counters apart), readable from anywhere at any time. The layout is
/// fixed because two compilations of this crate share it.
#[derive(Debug, Default)]
#[repr(C)]
pub struct CoreStats {
    /// Page-not-present exceptions delivered by the host.
    pub not_present: Counter,
    /// Ready tokens delivered by the host, wake-alls not counted.
    pub ready: Counter,
    /// Wake-alls delivered by the host; arming causes one.
    pub wake_all: Counter,
    /// Ready interrupts with no token.
    pub spurious_interrupts: Counter,
    /// Waits by schedule.
    pub schedule_waits: Counter,
    /// Waits by halt.
    pub halt_waits: Counter,
    /// Faults whose ready came first, so that nobody waited.
    pub early_ready: Counter,
    /// Waits by halt because slots or queue were full.
    pub overflow_halts: Counter,
    /// Faults retried at once because there was no slot at all.
    pub overflow_retries: Counter,
    /// Ready tokens left with the host for a while because the queue was full.
    pub deferred_ready: Counter,
    /// #PFs with unknown reason bits, handed on to the kernel.
    pub unknown_reason: Counter,
    /// Most slots ever in use at once.
    pub most_waiting: Counter,
    /// Stage times of waits by schedule.
    pub schedule: StageHistograms,
    /// Stage times of waits by halt.
    pub halt: StageHistograms,
}

impl CoreStats {
    /// Records a finished wait.
    pub fn finished(&self, wait: Wait, stages: Stages, running: Tsc) {
        let of_kind = match wait {
            Wait::Schedule => &self.schedule,
            Wait::Halt => &self.halt,
        };
        of_kind.fault_to_parked.record(stages.parked.since(stages.fault));
        of_kind.host.record(stages.ready.since(stages.fault));
        of_kind.ready_to_service.record(stages.released.since(stages.ready));
        of_kind.ready_to_running.record(running.since(stages.ready));
        of_kind.total.record(running.since(stages.fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[test]
    fn a_finished_wait_lands_in_the_histograms_of_its_kind() {
        let stats: Box<CoreStats> = Box::default();
        let stages = Stages { fault: Tsc(10), parked: Tsc(12), ready: Tsc(20), released: Tsc(23) };
        stats.finished(Wait::Halt, stages, Tsc(25));
        assert_eq!(stats.schedule.total.nonempty().count(), 0);
        let one = |h: &Histogram| h.nonempty().next().unwrap();
        assert_eq!(one(&stats.halt.fault_to_parked), (2, 1));
        assert_eq!(one(&stats.halt.host), (10, 1));
        assert_eq!(one(&stats.halt.ready_to_service), (3, 1));
        assert_eq!(one(&stats.halt.ready_to_running), (5, 1));
        assert_eq!(one(&stats.halt.total), (15, 1));
    }
}
