//! Conditions that the service thread watches: overdue waits ([`Watchdog`]), cores near the host's
//! limit, wake-alls.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use apf_core::event::CoreId;
use apf_core::per_core::{MANY_EMPTY, NEAR_LIMIT};
use apf_core::stats::{CoreStats, Counter};
use apf_core::time::Tsc;
use apf_core::watchdog::Watchdog;

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

/// Returns a watchdog for waits longer than `limit`.
pub fn watchdog(limit: Option<Duration>) -> Watchdog {
    let cycles = |limit: Duration| {
        u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).saturating_mul(ffi::tsc_mhz().into())
    };
    Watchdog::new(limit.map_or(u64::MAX, cycles), ffi::now())
}

/// Returns when `core` was last left without a task that could run while one waited for a page.
pub fn last_idle(core: CoreId) -> Tsc {
    ffi::core_stats(core).map_or(Tsc(0), |stats| stats.stall.last_idle())
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
    use apf_core::watchdog::Retries;

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
    fn a_limit_becomes_cycles_and_none_is_never() {
        let after = |cycles| ffi::now().after(cycles);
        let is_due = |limit, now| watchdog(limit).due(now, last_idle) != Retries::NONE;
        let limit = Some(Duration::from_secs(10_000));
        // Off Hermit one cycle is a microsecond.
        assert!(is_due(limit, after(11_000_000_000)) && !is_due(limit, after(9_000_000_000)));
        assert!(!is_due(None, after(u64::MAX - 1)));
    }
}
