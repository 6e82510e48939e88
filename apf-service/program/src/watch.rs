//! Conditions that the service thread watches: overdue waits, cores near the host's limit,
//! wake-alls.

use core::time::Duration;

use apf_core::event::CoreId;
use apf_core::per_core::NEAR_LIMIT;
use apf_core::stats::CoreStats;
use apf_core::time::Tsc;

use crate::ffi;
use crate::log::{self, News};

/// Says when waits are to be looked through for overdue ones: once in each limit, so that a
/// wait is retried after one limit at the earliest and two at the latest.
pub struct Watchdog {
    limit: Option<Duration>,
    limit_cycles: u64,
    last_look: Tsc,
}

impl Watchdog {
    /// Makes a watchdog for waits longer than `limit`; `None` is never.
    pub fn new(limit: Option<Duration>) -> Self {
        let cycles = |limit: Duration| {
            u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).saturating_mul(ffi::tsc_mhz().into())
        };
        Self { limit, limit_cycles: limit.map_or(u64::MAX, cycles), last_look: ffi::now() }
    }

    /// Returns the time that the service thread may sleep. A wait alone does not wake it, so
    /// it cannot know beforehand if there will be a waiter.
    pub const fn sleep_limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Returns the limit in cycles if it is time to look; else [`u64::MAX`].
    pub fn due(&self) -> u64 {
        self.due_at(ffi::now())
    }

    fn due_at(&self, now: Tsc) -> u64 {
        if now.since(self.last_look) >= self.limit_cycles { self.limit_cycles } else { u64::MAX }
    }

    /// Notes that there is nothing overdue left.
    pub fn looked(&mut self) {
        let now = ffi::now();
        if self.due_at(now) != u64::MAX {
            self.last_look = now;
        }
    }
}

/// Cores that there can be ([`CoreId`] above it are not observed).
const CORES: usize = 64;

/// Reports what a core's counts show: once that it came near the host's limit of
/// outstanding faults, beyond which the host stops the core for a fault; and each wake-all.
pub struct Observer {
    warned: [bool; CORES],
    wake_alls: [u64; CORES],
}

impl Observer {
    /// Nothing has been reported.
    pub const fn new() -> Self {
        Self { warned: [false; CORES], wake_alls: [0; CORES] }
    }

    /// Looks at one core.
    pub fn look(&mut self, core: CoreId, stats: &CoreStats) {
        let at = usize::from(core.0);
        let (Some(warned), Some(wake_alls)) = (self.warned.get_mut(at), self.wake_alls.get_mut(at)) else {
            return;
        };
        let most_outstanding = stats.most_outstanding.get();
        if !*warned && most_outstanding >= NEAR_LIMIT {
            *warned = true;
            log::post(News::NearLimit { core, most_outstanding });
        }
        let count = stats.wake_all.get();
        if count != *wake_alls {
            *wake_alls = count;
            log::post(News::WakeAll { core, count, waiters: stats.woken.get() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[test]
    fn the_observer_warns_once_for_each_core() {
        let stats: Box<CoreStats> = Box::default();
        let mut observer = Observer::new();
        stats.most_outstanding.raise(NEAR_LIMIT - 1);
        observer.look(CoreId(1), &stats);
        assert!(!observer.warned[1]);
        stats.most_outstanding.raise(NEAR_LIMIT);
        stats.wake_all.count();
        observer.look(CoreId(1), &stats);
        assert_eq!((observer.warned[1], observer.warned[0], observer.wake_alls[1]), (true, false, 1));
    }

    #[test]
    fn the_thread_sleeps_no_longer_than_the_limit() {
        let limit = Some(Duration::from_secs(10));
        let mut watchdog = Watchdog::new(limit);
        assert_eq!((watchdog.limit_cycles, watchdog.sleep_limit()), (10_000_000, limit));
        assert_eq!(Watchdog::new(None).sleep_limit(), None);
        watchdog.last_look = Tsc(0);
        assert_eq!(
            (watchdog.due_at(Tsc(9_999_999)), watchdog.due_at(Tsc(10_000_000))),
            (u64::MAX, 10_000_000)
        );
    }
}
