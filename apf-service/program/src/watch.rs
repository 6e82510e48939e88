//! Conditions that the service thread watches: overdue waits, cores near the host's limit,
//! wake-alls.

use core::mem::replace;
use core::sync::atomic::{AtomicU64, Ordering};
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

/// Reports what a core's counts show: once that it came near the host's limit of
/// outstanding faults, beyond which the host stops the core for a fault; and whenever others of
/// its counts have grown.
pub struct Observer {
    warned: [bool; CORES],
    wake_alls: [u64; CORES],
    overdue_halts: [u64; CORES],
    unexplained: [u64; CORES],
    no_room: [u64; CORES],
    /// In groups of [`MANY_EMPTY`].
    empty: [u64; CORES],
}

impl Observer {
    /// Nothing has been reported.
    pub const fn new() -> Self {
        const NONE: [u64; CORES] = [0; CORES];
        Self {
            warned: [false; CORES],
            wake_alls: NONE,
            overdue_halts: NONE,
            unexplained: NONE,
            no_room: NONE,
            empty: NONE,
        }
    }

    /// Looks at one core.
    pub fn look(&mut self, core: CoreId, stats: &CoreStats) {
        let at = usize::from(core.0);
        if at >= CORES {
            return;
        }
        let warned = &mut self.warned[at];
        let most_outstanding = stats.most_outstanding.get();
        if !*warned && most_outstanding >= NEAR_LIMIT {
            *warned = true;
            log::post(News::NearLimit { core, most_outstanding });
        }
        let grown = |counter: &Counter, group: u64, seen: &mut u64| {
            let count = counter.get();
            (replace(seen, count / group) != count / group).then_some(count)
        };
        let news = [
            grown(&stats.overdue_halts, 1, &mut self.overdue_halts[at])
                .map(|count| News::OverdueHalt { core, count }),
            grown(&stats.unexplained_retries, 1, &mut self.unexplained[at])
                .map(|count| News::Unexplained { core, count }),
            grown(&stats.no_room_retries, 1, &mut self.no_room[at]).map(|count| News::NoRoom { core, count }),
            grown(&stats.spurious_interrupts, MANY_EMPTY, &mut self.empty[at])
                .map(|count| News::ManyEmpty { core, count }),
            grown(&stats.wake_all, 1, &mut self.wake_alls[at]).map(|count| News::WakeAll {
                core,
                count,
                waiters: stats.woken.get(),
            }),
        ];
        news.into_iter().flatten().for_each(log::post);
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
        stats.overdue_halts.count();
        stats.unexplained_retries.count();
        stats.spurious_interrupts.add(2 * MANY_EMPTY - 1);
        observer.look(CoreId(1), &stats);
        assert_eq!((observer.warned[1], observer.warned[0]), (true, false));
        assert_eq!((observer.wake_alls[1], observer.overdue_halts[1]), (1, 1));
        assert_eq!((observer.unexplained[1], observer.no_room[1], observer.empty[1]), (1, 0, 1));
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
