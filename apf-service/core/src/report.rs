//! Reports of the service thread's decisions, and their counts.
#![forbid(unsafe_code)]

use crate::event::CoreId;
use crate::protocol::Token;
use crate::stats::Counter;

/// One decision, for counting and for the log. It crosses to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, u32)]
pub enum Report {
    /// A ready ended the wait of another core's fault.
    Matched {
        /// The core of the fault.
        core: CoreId,
        /// The core of the ready.
        came_on: CoreId,
        /// The fault's name.
        token: Token,
        /// The instruction that touched the page.
        rip: u64,
    },
    /// A ready found no waiter: it stays among the early ones, or its fault has
    /// taken it meanwhile.
    Unmatched {
        /// The core of the ready.
        came_on: CoreId,
        /// The fault's name.
        token: Token,
    },
    /// A ready was lost to a full queue, so all waiters by schedule were released, its own
    /// among them. (The interrupt itself looks for halting waiters.)
    Overflow {
        /// Number of waits ended.
        waiters: u64,
    },
    /// A wait was retried because its ready is overdue.
    Overdue {
        /// The core of the fault.
        core: CoreId,
        /// The fault's name.
        token: Token,
        /// The instruction that touched the page.
        rip: u64,
        /// Cycles since the fault.
        waited: u64,
    },
}

impl Report {
    /// A value for a buffer's initial contents.
    pub const NONE: Self = Self::Overflow { waiters: 0 };
}

/// Counts of the service thread.
#[derive(Debug, Default)]
pub struct ServiceStats {
    /// Ready tokens that ended the wait of another core's fault.
    pub matched: Counter,
    /// Ready tokens without a waiter.
    pub unmatched: Counter,
    /// Times that all waiters by schedule were released because an event was lost to a full
    /// queue.
    pub overflows: Counter,
    /// Waits ended by that.
    pub released_by_overflow: Counter,
    /// Waits retried because their ready was overdue.
    pub overdue: Counter,
    /// News for `tracing` that found no room in their queue.
    pub unreported: Counter,
}

impl ServiceStats {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            matched: Counter::new(),
            unmatched: Counter::new(),
            overflows: Counter::new(),
            released_by_overflow: Counter::new(),
            overdue: Counter::new(),
            unreported: Counter::new(),
        }
    }

    /// Counts a decision.
    pub fn count(&self, report: &Report) {
        let counter = match report {
            Report::Matched { .. } => &self.matched,
            Report::Unmatched { .. } => &self.unmatched,
            Report::Overflow { waiters } => {
                self.released_by_overflow.add(*waiters);
                &self.overflows
            }
            Report::Overdue { .. } => &self.overdue,
        };
        counter.count();
    }
}
