//! Reports of the service thread's decisions, and their counts.
#![forbid(unsafe_code)]

use crate::event::CoreId;
use crate::protocol::Token;
use crate::stats::Counter;

/// Most reports of one call of the service thread ([`apf_serve`](crate::abi::Exports::apf_serve)).
pub const BATCH: usize = 64;

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
    /// A wait is overdue and was not retried, because another task could run on its core.
    Late {
        /// The core of the fault.
        core: CoreId,
    },
}

impl Report {
    /// A value for a buffer's initial contents.
    pub const NONE: Self = Self::Overflow { waiters: 0 };
}

/// Calls `$callback! { … }` with the service thread's counters: documentation and name. A new
/// counter is one entry here.
#[macro_export]
macro_rules! for_each_service_counter {
    ($($callback:ident)::+) => {
        $($callback)::+! {
            /// Ready tokens that ended the wait of another core's fault.
            matched;
            /// Ready tokens without a waiter.
            unmatched;
            /// Times that all waiters by schedule were released because an event was lost to a
            /// full queue.
            overflows;
            /// Waits ended by that.
            released_by_overflow;
            /// Waits retried because their ready was overdue.
            overdue;
            /// News for `tracing` that found no room in their queue.
            unreported;
        }
    };
}

macro_rules! service_stats {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// Counts of the service thread.
        #[derive(Debug, Default)]
        pub struct ServiceStats {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl ServiceStats {
            /// All zero.
            #[must_use]
            pub const fn new() -> Self {
                Self { $($name: Counter::new(),)* }
            }
        }
    };
}
for_each_service_counter!(service_stats);

impl ServiceStats {
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
            // It is retried later, and counts then.
            Report::Late { .. } => return,
        };
        counter.count();
    }
}
