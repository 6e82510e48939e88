//! Conditions that the service thread watches: overdue waits, cores near the host's limit,
//! wake-alls.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use apf_core::event::CoreId;
use apf_core::per_core::{MANY_EMPTY, NEAR_LIMIT};
use apf_core::stats::{CoreStats, Counter};
use apf_core::time::Tsc;

use crate::ffi;
use crate::log::{self, News};

/// [`Config::watchdog`](crate::Config::watchdog) of the running service in microseconds;
/// [`u64::MAX`] is never.
pub static LIMIT_US: AtomicU64 = AtomicU64::new(u64::MAX);

/// Returns [`LIMIT_US`] as a duration.
pub fn limit() -> Option<Duration> {
    let micros = LIMIT_US.load(Ordering::Acquire);
    (micros != u64::MAX).then(|| Duration::from_micros(micros))
}

/// Longest interval between two retries, in limits.
const LONGEST: u64 = 4;

/// Says when a wait may be retried: the first after one limit at the earliest and two at the
/// latest. Then one at a time, in intervals of two and of four limits, until none is overdue:
/// a retry may stop the core ([`retry_overdue`](apf_core::serve::retry_overdue)).
pub struct Watchdog {
    limit: Option<Duration>,
    limit_cycles: u64,
    last_look: Tsc,
    /// Limits until the next look.
    interval: u64,
}

impl Watchdog {
    /// Makes a watchdog for waits longer than `limit`; `None` is never.
    pub fn new(limit: Option<Duration>) -> Self {
        let cycles = |limit: Duration| {
            u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).saturating_mul(ffi::tsc_mhz().into())
        };
        Self { limit, limit_cycles: limit.map_or(u64::MAX, cycles), last_look: ffi::now(), interval: 1 }
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
        if now.since(self.last_look) >= self.limit_cycles.saturating_mul(self.interval) {
            self.limit_cycles
        } else {
            u64::MAX
        }
    }

    /// Notes that a wait was retried.
    pub fn retried(&mut self) {
        self.last_look = ffi::now();
        self.interval = (2 * self.interval).min(LONGEST);
    }

    /// Notes that nothing was overdue, if it was time to look.
    pub fn looked(&mut self) {
        let now = ffi::now();
        if self.due_at(now) != u64::MAX {
            self.last_look = now;
            self.interval = 1;
        }
    }
}

/// Cores that there can be ([`CoreId`] above it are not observed).
pub const CORES: usize = 64;

/// Observer of the running service. It outlives the service, as the cores' counts do: a service
/// that is started again reports only what is new.
pub static OBSERVER: Observer = Observer::new();

/// Reports what a core's counts show: once that it came near the host's limit of
/// outstanding faults, beyond which the host stops the core for a fault; and whenever others of
/// its counts have grown.
pub struct Observer {
    warned: [AtomicBool; CORES],
    wake_alls: [AtomicU64; CORES],
    overdue_halts: [AtomicU64; CORES],
    unexplained: [AtomicU64; CORES],
    no_room: [AtomicU64; CORES],
    /// In groups of [`MANY_EMPTY`].
    empty: [AtomicU64; CORES],
}

impl Observer {
    /// Nothing has been reported.
    const fn new() -> Self {
        Self {
            warned: [const { AtomicBool::new(false) }; CORES],
            wake_alls: [const { AtomicU64::new(0) }; CORES],
            overdue_halts: [const { AtomicU64::new(0) }; CORES],
            unexplained: [const { AtomicU64::new(0) }; CORES],
            no_room: [const { AtomicU64::new(0) }; CORES],
            empty: [const { AtomicU64::new(0) }; CORES],
        }
    }

    /// Looks at one core, and passes its news to the log.
    pub fn look(&self, core: CoreId, stats: &CoreStats) {
        self.news(core, stats).into_iter().flatten().for_each(log::post);
    }

    /// Returns what has not been reported yet. Called by the service thread only, and there is
    /// one at a time.
    fn news(&self, core: CoreId, stats: &CoreStats) -> [Option<News>; 6] {
        let at = usize::from(core.0);
        if at >= CORES {
            return [const { None }; 6];
        }
        let most_outstanding = stats.most_outstanding.get();
        let near_limit = !self.warned[at].load(Ordering::Relaxed) && most_outstanding >= NEAR_LIMIT;
        if near_limit {
            self.warned[at].store(true, Ordering::Relaxed);
        }
        let grown = |counter: &Counter, group: u64, seen: &AtomicU64| {
            let count = counter.get();
            let grown = seen.load(Ordering::Relaxed) != count / group;
            if grown {
                seen.store(count / group, Ordering::Relaxed);
            }
            grown.then_some(count)
        };
        [
            near_limit.then_some(News::NearLimit { core, most_outstanding }),
            grown(&stats.overdue_halts, 1, &self.overdue_halts[at])
                .map(|count| News::OverdueHalt { core, count }),
            grown(&stats.unexplained_retries, 1, &self.unexplained[at])
                .map(|count| News::Unexplained { core, count }),
            grown(&stats.no_room_retries, 1, &self.no_room[at]).map(|count| News::NoRoom { core, count }),
            grown(&stats.spurious_interrupts, MANY_EMPTY, &self.empty[at])
                .map(|count| News::ManyEmpty { core, count }),
            grown(&stats.wake_all, 1, &self.wake_alls[at]).map(|count| News::WakeAll {
                core,
                count,
                waiters: stats.woken.get(),
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[test]
    fn the_observer_warns_once_for_each_core() {
        let stats: Box<CoreStats> = Box::default();
        let observer = Observer::new();
        let near = |core| observer.news(CoreId(core), &stats)[0].is_some();
        stats.most_outstanding.raise(NEAR_LIMIT - 1);
        assert!(!near(1));
        stats.most_outstanding.raise(NEAR_LIMIT);
        assert_eq!([near(1), near(1), near(0), near(0)], [true, false, true, false]);
    }

    #[test]
    fn a_service_that_is_started_again_repeats_no_warning() {
        let stats: Box<CoreStats> = Box::default();
        // Each thread looks through the one observer.
        let thread = || OBSERVER.news(CoreId(1), &stats).into_iter().flatten().count();
        stats.most_outstanding.raise(NEAR_LIMIT);
        stats.wake_all.count();
        stats.overdue_halts.count();
        stats.unexplained_retries.count();
        stats.spurious_interrupts.add(2 * MANY_EMPTY - 1);
        assert_eq!([thread(), thread()], [5, 0]);
        stats.overdue_halts.count();
        assert_eq!([thread(), thread()], [1, 0], "what is new");
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

    #[test]
    fn the_watchdog_backs_off_while_it_retries() {
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(10)));
        for interval in [2, 4, 4] {
            watchdog.retried();
            watchdog.last_look = Tsc(0);
            let due = [interval * 10_000_000 - 1, interval * 10_000_000].map(|now| watchdog.due_at(Tsc(now)));
            assert_eq!(due, [u64::MAX, 10_000_000]);
        }
        watchdog.looked();
        watchdog.last_look = Tsc(0);
        assert_eq!(watchdog.due_at(Tsc(10_000_000)), 10_000_000, "nothing was overdue");
    }
}
