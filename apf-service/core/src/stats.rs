//! Counters, histograms and stall times of a core.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::classify::{HaltReason, Wait};
use crate::histogram::Histogram;
use crate::slot::Stages;
use crate::stall::Stall;
use crate::time::Tsc;

/// A counter that only grows. One context at a time counts: interrupts are off, or
/// it is the service thread's own. So adding need not be one locked step.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `more`.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Counts one.
    #[inline]
    pub fn count(&self) {
        self.add(1);
    }

    /// Raises the counter to `value` if it is lower (for high-water marks).
    /// Returns whether it was lower.
    #[inline]
    pub fn raise(&self, value: u64) -> bool {
        let is_raised = value > self.0.load(Relaxed);
        if is_raised {
            self.0.store(value, Relaxed);
        }
        is_raised
    }

    /// Returns the count so far.
    #[inline]
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
    /// Ready interrupt → wait word set: 0 where the interrupt itself sets it, else
    /// the way to the service thread.
    pub ready_to_service: Histogram,
    /// Ready interrupt → running again.
    pub ready_to_running: Histogram,
    /// #PF delivered → running again.
    pub total: Histogram,
}

/// Calls `$callback! { … }` with the counters of a core: documentation, `sum` or `most`
/// (a high-water mark), name. A new counter is one entry here.
#[macro_export]
macro_rules! for_each_counter {
    ($($callback:ident)::+) => {
        $($callback)::+! {
            /// Page-not-present exceptions delivered by the host. Each is counted once more, in
            /// `schedule_waits`, `halt_waits`, `early_ready`, `overflow_retries`, `no_room_retries` or
            /// `impossible_token`.
            sum not_present;
            /// Ready tokens delivered by the host, wake-alls not counted.
            sum ready;
            /// Wake-alls delivered by the host; arming causes one.
            sum wake_all;
            /// Ready interrupts with no token.
            sum spurious_interrupts;
            /// Waits by schedule.
            sum schedule_waits;
            /// Waits by halt.
            sum halt_waits;
            /// Faults whose ready came first, so that they did not wait.
            sum early_ready;
            /// Waits by halt because there was no slot for a wait by schedule.
            sum overflow_halts;
            /// Faults retried at once because there was no slot at all.
            sum overflow_retries;
            /// Faults retried at once because the task's stack had no room for a wait. Each stops the
            /// core until its page is there.
            sum no_room_retries;
            /// Ready tokens that found the queue to the service thread full. It releases
            /// all waiters by schedule instead.
            sum deferred_ready;
            /// #PFs whose reason has unknown bits, or is of the protocol although the address is no token.
            sum unknown_reason;
            /// #PFs without a known reason that were tried again at once, since the host may have lost
            /// the reason. One that comes again is left to the kernel.
            sum unexplained_retries;
            /// Ready tokens that released a halting waiter, in the interrupt itself.
            sum halt_released;
            /// Ready tokens that released a halting waiter of another core.
            sum halt_released_elsewhere;
            /// Ready tokens that released a scheduled waiter, in the interrupt itself.
            sum handed_off;
            /// Waits retried because the host gave their token to another fault.
            sum displaced;
            /// Waits by halt that were retried because their ready was overdue.
            sum overdue_halts;
            /// Waits by halt that went on by schedule because their page was late: only
            /// `Waits::Auto` chose to halt.
            sum halt_continued;
            /// Waits ended by wake-alls.
            sum woken;
            /// Times that the guest was restored, from a snapshot or by a migration: wake-alls that
            /// the program did not cause, and registers that the host had lost.
            sum restored;
            /// Not-presents with a token that cannot name a fault; retried at once.
            sum impossible_token;
            /// Most slots ever in use at once. A task keeps its slot until it runs again.
            most most_waiting;
            /// Most not-presents at once whose ready had not come. The host compares nearly
            /// the same number with its limit of 64, but it includes ready events that it has
            /// not delivered yet and leaves out faults of earlier generations. A ready that
            /// comes on another core counts there.
            most most_outstanding;
            /// Times that the outstanding faults reached the host's limit. From then until a
            /// page is ready, a fault stops the core, and no event reports it.
            sum budget_spent;
            /// Faults in kernel code, which wait by halt.
            sum halt_kernel_text;
            /// Faults of the idle task.
            sum halt_idle;
            /// Faults inside `NonPreemptible` guards, those of
            /// the service thread among them.
            sum halt_guard;
            /// Faults on a stack that is not the running task's.
            sum halt_foreign_stack;
            /// Faults that could have waited by schedule, and halted because that was
            /// cheaper (`Waits::Auto`).
            sum halt_cheaper;
        }
    };
}

macro_rules! core_stats {
    ($($(#[$doc:meta])* $kind:ident $name:ident;)*) => {
        /// Counters, histograms and stall times of one core. Written by that core, readable from
        /// anywhere at any time. The layout is fixed because program and archive share it.
        #[derive(Debug, Default)]
        #[repr(C)]
        pub struct CoreStats {
            $($(#[$doc])* pub $name: Counter,)*
            /// Stage times of waits by schedule.
            pub schedule: StageHistograms,
            /// Stage times of waits by halt.
            pub halt: StageHistograms,
            /// Stall time. A fault that the host does not report, for which it stops the core,
            /// is no part of it.
            pub stall: Stall,
        }
    };
}
for_each_counter!(core_stats);

impl CoreStats {
    /// Counts a fault whose context must keep its core.
    #[inline]
    pub fn halted(&self, reason: HaltReason) {
        match reason {
            HaltReason::KernelText => &self.halt_kernel_text,
            HaltReason::Idle => &self.halt_idle,
            HaltReason::Guard => &self.halt_guard,
            HaltReason::ForeignStack => &self.halt_foreign_stack,
        }
        .count();
    }

    /// Records a finished wait.
    #[inline]
    pub fn finished(&self, wait: Wait, stages: Stages, running: Tsc) {
        let of_kind = match wait {
            Wait::Schedule => &self.schedule,
            Wait::Halt | Wait::HaltFirst => &self.halt,
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
    fn a_counter_is_raised_once_to_each_mark() {
        let counter = Counter::new();
        assert!(counter.raise(3) && !counter.raise(3) && !counter.raise(2));
        assert_eq!(counter.get(), 3);
    }

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
