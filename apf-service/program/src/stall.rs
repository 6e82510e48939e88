//! Stall times of each core, as Linux reports them for memory in `/proc/pressure`.
//!
//! The archive keeps the totals ([`apf_core::stall`]). The averages are computed here, in task
//! context: at each call of [`stall`], and whenever the service thread runs.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use core::time::Duration;

use apf_core::event::CoreId;
use apf_core::stall::StallTime;
use apf_core::stats::CoreStats;

use crate::watch::CORES;
use crate::{ask, ffi};

/// Stall times of one core, since the program started. A fault that the host does not report, for
/// which it stops the core, is no part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Time in which at least one context of the core waited for a page: a task from its fault until
    /// it runs again, or the core while it halts.
    pub some: Pressure,
    /// The part of it in which no task of the core could run: the core idled or halted.
    pub full: Pressure,
}

/// Time in one state of stall.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Its sum, the stall under way included.
    pub total: Duration,
    /// Its recent share of the time in percent, as an average that decays exponentially in 10 s.
    pub avg10: f64,
    /// The same in 60 s.
    pub avg60: f64,
    /// The same in 300 s.
    pub avg300: f64,
}

/// Writes a line in the form of `/proc/pressure/memory`, without its first word. The total is in microseconds.
impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, avg10, avg60, avg300 } = self;
        write!(f, "avg10={avg10:.2} avg60={avg60:.2} avg300={avg300:.2} total={}", total.as_micros())
    }
}

/// Writes the two lines of `/proc/pressure/memory`.
impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "some {}\nfull {}", self.some, self.full)
    }
}

/// Returns the stall times of each core (pressure stall information, PSI: Linux
/// `Documentation/accounting/psi.rst`). Cores that were never armed are left out.
///
/// The averages change every 2 s at most, as in Linux. Between two updates the share is taken as constant:
/// for figures as exact as those of Linux, call this every 2 s. Without such calls the service thread updates them
/// whenever it has work, and once in each [`Config::watchdog`](crate::Config::watchdog).
///
/// ```
/// for (core, stall) in apf_service::stall() {
///     println!("core {}\n{stall}", core.0);
/// }
/// # assert_eq!(apf_service::stall().count(), 0, "off Hermit nothing stalls");
/// ```
pub fn stall() -> impl Iterator<Item = (CoreId, Stall)> {
    ask::stats().map(|(core, stats)| (core, look(core, stats)))
}

/// Reads the stall times of one core, and updates its averages if it is time to.
pub fn look(core: CoreId, stats: &CoreStats) -> Stall {
    let time = stats.stall.read(ffi::now);
    let mhz = u64::from(ffi::tsc_mhz());
    COURSES.get(usize::from(core.0)).map_or_else(Stall::default, |course| course.look(time, mhz))
}

static COURSES: [Course; CORES] = [const { Course::new() }; CORES];

/// Interval of the averages' updates: `PSI_FREQ` of `kernel/sched/psi.c`.
const PERIOD_US: u64 = 2_000_000;

/// What remains of an average after a period: exp(−2 s / 10 s), of 60 s and of 300 s. The same file has them
/// as `EXP_10s` and so on, rounded to 2048ths.
const DECAYS: [f64; 3] = [0.818_730_753_077_981_9, 0.967_216_100_482_005_5, 0.993_355_506_255_034_4];

/// The course of one core's stall times, for its averages.
struct Course {
    /// Somebody updates. Others do without: the service thread waits for nobody.
    is_updating: AtomicBool,
    /// When it was last updated, in cycles; 0 is never.
    updated: AtomicU64,
    /// End of the last period that is part of the averages.
    period_end: AtomicU64,
    some: Average,
    full: Average,
}

impl Course {
    const fn new() -> Self {
        Self {
            is_updating: AtomicBool::new(false),
            updated: AtomicU64::new(0),
            period_end: AtomicU64::new(0),
            some: Average::new(),
            full: Average::new(),
        }
    }

    fn look(&self, time: StallTime, mhz: u64) -> Stall {
        let [some, full] = [(&self.some, time.some), (&self.full, time.full)].map(|(average, total)| {
            // So that it never falls, although the counters of two cores may differ.
            average.highest.fetch_max(total, Relaxed).max(total)
        });
        if !self.is_updating.swap(true, Acquire) {
            self.update(time.at.0, [some, full], PERIOD_US * mhz);
            self.is_updating.store(false, Release);
        }
        Stall { some: self.some.pressure(some, mhz), full: self.full.pressure(full, mhz) }
    }

    fn update(&self, now: u64, totals: [u64; 2], period: u64) {
        let (updated, period_end) = (self.updated.load(Relaxed), self.period_end.load(Relaxed));
        let averages = [&self.some, &self.full].into_iter().zip(totals);
        // The first time, or a counter of another host.
        if updated == 0 || now < updated {
            self.updated.store(now, Relaxed);
            self.period_end.store(now, Relaxed);
            averages.for_each(|(average, total)| average.averaged.store(total, Relaxed));
            return;
        }
        let periods = (now - period_end) / period;
        if periods > 0 {
            self.updated.store(now, Relaxed);
            // A late update does not delay the next one.
            self.period_end.store(period_end + periods * period, Relaxed);
            averages.for_each(|(average, total)| average.update(total, now - updated, periods));
        }
    }
}

/// Averages of one kind of stall.
struct Average {
    /// Largest total that was seen.
    highest: AtomicU64,
    /// The part of the total that is in the averages.
    averaged: AtomicU64,
    /// Shares, as the bits of an `f64`.
    shares: [AtomicU64; 3],
}

impl Average {
    const fn new() -> Self {
        Self {
            highest: AtomicU64::new(0),
            averaged: AtomicU64::new(0),
            // The bits of 0.0.
            shares: [const { AtomicU64::new(0) }; 3],
        }
    }

    /// Takes up a time that ended in the last of so many periods. As in Linux, a share of more than all
    /// of it, by two counters that differ, is left for the next update.
    fn update(&self, total: u64, elapsed: u64, periods: u64) {
        let averaged = self.averaged.load(Relaxed);
        let stalled = total.saturating_sub(averaged).min(elapsed);
        self.averaged.store(averaged + stalled, Relaxed);
        let recent = stalled as f64 / elapsed as f64;
        for (share, decay) in self.shares.iter().zip(DECAYS) {
            let before = f64::from_bits(share.load(Relaxed));
            let now = recent + (before - recent) * power(decay, periods);
            share.store(now.to_bits(), Relaxed);
        }
    }

    fn pressure(&self, total: u64, mhz: u64) -> Pressure {
        let [avg10, avg60, avg300] =
            [0, 1, 2].map(|at| 100.0 * f64::from_bits(self.shares[at].load(Relaxed)));
        let total = Duration::from_nanos((u128::from(total) * 1000 / u128::from(mhz)) as u64);
        Pressure { total, avg10, avg60, avg300 }
    }
}

/// Returns `base` to the power of `exponent`, by repeated squaring.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use apf_core::time::Tsc;

    /// Looks at a moment in seconds, with a counter of 1 MHz.
    fn look(course: &Course, at: f64, some: f64, full: f64) -> Stall {
        let [at, some, full] = [at, some, full].map(|seconds| (seconds * 1e6) as u64);
        course.look(StallTime { at: Tsc(at), some, full }, 1)
    }

    fn is_near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-6
    }

    #[test]
    fn averages_approach_the_share_as_fast_as_their_windows() {
        let course = Course::new();
        look(&course, 100.0, 5.0, 5.0);
        for n in 1..=30 {
            let time = f64::from(n) * 2.0;
            look(&course, 100.0 + time, 5.0 + time, 5.0 + time / 4.0);
        }
        // 1 − 1/e⁶, 1 − 1/e and 1 − 1/e^0.2, after 60 s.
        let stall = look(&course, 160.0, 65.0, 20.0);
        assert!(is_near(stall.some.avg10, 99.752_124_782_333_6), "{stall:?}");
        assert!(is_near(stall.some.avg60, 63.212_055_882_855_8), "{stall:?}");
        assert!(is_near(stall.some.avg300, 18.126_924_692_201_8), "{stall:?}");
        assert!(is_near(stall.full.avg60, stall.some.avg60 / 4.0), "{stall:?}");
        assert_eq!((stall.some.total, stall.full.total), (Duration::from_secs(65), Duration::from_secs(20)));
    }

    #[test]
    fn one_late_update_equals_many_with_the_same_share() {
        let (often, once) = (Course::new(), Course::new());
        for n in 0..=25 {
            let time = 2.0 * f64::from(n);
            look(&often, 100.0 + time, time / 2.0, 0.0);
        }
        look(&once, 100.0, 0.0, 0.0);
        let [often, once] = [often, once].map(|course| look(&course, 150.0, 25.0, 0.0).some);
        assert!(is_near(often.avg10, once.avg10) && is_near(often.avg300, once.avg300), "{often} {once}");
    }

    #[test]
    fn the_total_grows_at_each_look_and_the_averages_each_two_seconds() {
        let course = Course::new();
        look(&course, 100.0, 0.0, 0.0);
        let early = look(&course, 101.9, 1.9, 0.0).some;
        assert_eq!((early.total, early.avg10), (Duration::from_micros(1_900_000), 0.0));
        // A late update does not delay the next one.
        let first = look(&course, 103.9, 3.9, 0.0).some;
        let second = look(&course, 104.0, 4.0, 0.0).some;
        assert!(is_near(first.avg10, 18.126_924_692_201_8), "{first}");
        assert!(is_near(second.avg10, 32.967_995_396_436_1), "{second}");
    }

    #[test]
    fn without_stalls_the_averages_fade_to_nothing() {
        let course = Course::new();
        look(&course, 100.0, 0.0, 0.0);
        look(&course, 200.0, 100.0, 100.0);
        let later = look(&course, 210.0, 100.0, 100.0).full;
        assert!(is_near(later.avg10, 100.0 / core::f64::consts::E * (1.0 - (-10_f64).exp())), "{later}");
        let much_later = look(&course, 1e12, 100.0, 100.0).full;
        assert_eq!(format!("{much_later}"), "avg10=0.00 avg60=0.00 avg300=0.00 total=100000000");
    }

    #[test]
    fn counters_that_differ_make_no_total_fall_and_no_share_exceed_all() {
        let course = Course::new();
        look(&course, 100.0, 10.0, 0.0);
        assert_eq!(look(&course, 100.5, 9.0, 0.0).some.total, Duration::from_secs(10));
        let more = look(&course, 102.0, 13.0, 0.0).some;
        assert!(is_near(more.avg10, 18.126_924_692_201_8), "{more}");
        // What was too much counts later.
        assert!(look(&course, 104.0, 13.0, 0.0).some.avg10 > more.avg10);
        // A restored guest finds a younger counter, and averages from there.
        let restored = look(&course, 3.0, 13.0, 0.0).some;
        assert_eq!(restored.total, Duration::from_secs(13));
        assert!(look(&course, 5.0, 13.0, 0.0).some.avg10 < restored.avg10);
    }

    #[test]
    fn a_stall_is_written_as_linux_writes_it() {
        let some = Pressure { total: Duration::from_micros(23_424), avg10: 1.236, avg60: 0.5, avg300: 100.0 };
        let text = format!("{}", Stall { some, full: Pressure::default() });
        assert_eq!(
            text,
            "some avg10=1.24 avg60=0.50 avg300=100.00 total=23424\n\
             full avg10=0.00 avg60=0.00 avg300=0.00 total=0"
        );
    }
}
