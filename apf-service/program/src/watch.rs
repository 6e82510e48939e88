//! What the service thread keeps an eye on: waits that take too long, and
//! cores that come near the host's limit.

use core::time::Duration;

use crate::ask::SERVICE_STATS;
use crate::ffi;
use crate::tell::{self, News};
use apf_core::event::CoreId;
use apf_core::protocol::OUTSTANDING_PER_VCPU;
use apf_core::stats::CoreStats;
use apf_core::table::Table;
use apf_core::time::Tsc;

/// From this many outstanding on, a core is near the host's limit.
const BUDGET_WARNING: u64 = 56;
const _: () = assert!(BUDGET_WARNING < OUTSTANDING_PER_VCPU as u64);

/// Retries waits whose ready is overdue. A retry is always safe: if the page
/// is there, the access goes through, and if not, it faults again. Waits by
/// halt are out of its reach: nothing but their interrupt runs on their core.
pub struct Watchdog {
    limit: Option<Duration>,
    limit_cycles: u64,
    last_look: Tsc,
}

impl Watchdog {
    /// A watchdog for waits longer than `limit`; `None` is never.
    pub fn new(limit: Option<Duration>) -> Self {
        let cycles = |limit: Duration| {
            u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).saturating_mul(ffi::tsc_mhz().into())
        };
        Self { limit, limit_cycles: limit.map_or(u64::MAX, cycles), last_look: ffi::now() }
    }

    /// How long the service thread may sleep. A wait alone does not wake it, so
    /// it cannot know, when it goes to sleep, whether somebody will wait.
    pub const fn sleep_limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Looks for overdue waits, once in each limit; a wait is thus retried
    /// after one limit at the earliest and two at the latest.
    pub fn look(&mut self, table: &mut Table) {
        let now = ffi::now();
        if now.since(self.last_look) < self.limit_cycles {
            return;
        }
        self.last_look = now;
        while let Some((core, token, fault)) = table.take_overdue(now, self.limit_cycles) {
            ffi::release(core, fault.ticket, now);
            SERVICE_STATS.overdue.count();
            let waited_us = now.since(fault.since) / u64::from(ffi::tsc_mhz()).max(1);
            tell::say(News::Overdue { core, token, fault, waited_us });
        }
    }
}

/// Warns once of each core that comes near the host's limit of outstanding
/// faults, beyond which the host stops the core for a fault.
pub struct Budget {
    warned: u64,
}

impl Budget {
    /// Nobody has been warned.
    pub const fn new() -> Self {
        Self { warned: 0 }
    }

    /// Looks at one core.
    pub fn look(&mut self, core: CoreId, stats: &CoreStats) {
        let most_outstanding = stats.most_outstanding.get();
        let bit = 1_u64.checked_shl(core.0.into()).unwrap_or(0);
        if self.warned & bit == 0 && most_outstanding > BUDGET_WARNING {
            self.warned |= bit;
            tell::say(News::Budget { core, most_outstanding });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[test]
    fn the_budget_warns_once_for_each_core() {
        let stats: Box<CoreStats> = Box::default();
        let mut budget = Budget::new();
        stats.most_outstanding.raise(BUDGET_WARNING);
        budget.look(CoreId(1), &stats);
        assert_eq!(budget.warned, 0);
        stats.most_outstanding.raise(BUDGET_WARNING + 1);
        budget.look(CoreId(1), &stats);
        assert_eq!(budget.warned, 2);
    }

    #[test]
    fn the_thread_sleeps_no_longer_than_the_limit() {
        let limit = Some(Duration::from_secs(10));
        let watchdog = Watchdog::new(limit);
        assert_eq!((watchdog.limit_cycles, watchdog.sleep_limit()), (10_000_000, limit));
        assert_eq!(Watchdog::new(None).sleep_limit(), None);
    }
}
