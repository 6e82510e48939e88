//! Samples of an experiment while its guest runs: the host's counts, the record, and an
//! estimate of the time left.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use apf_report::document::Boot;
use apf_vocabulary::grid::Point;
use apf_vocabulary::pager::Stats;
use apf_vocabulary::{Counters, Mode, Sample};

use super::record::{Entry, Machine, Recorder};
use super::spec::{HostCounts, Spec};
use super::swap::SwapCounts;

/// Progress of an experiment.
pub struct Samples {
    recorder: Recorder,
    total: usize,
    done: usize,
    /// When the first sample began.
    began: Instant,
    current: Option<Current>,
}

/// The sample that is running, with the host's counts at its start.
struct Current {
    label: String,
    point: Point,
    began: Counts,
    /// Pages that the first eviction left out, and what had been counted then.
    evicted: Option<(u64, Counts)>,
    /// Swap's counts when all was brought back, if it was before the end.
    restored: Option<SwapCounts>,
    /// The host's counts at its end.
    ended: Option<Counts>,
}

/// Counts of the host so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// `None` where its tracing is not accessible.
    pub trace: Option<HostCounts>,
    /// Zeros before the first eviction, when there is no pager to ask.
    pub pager: Stats,
    /// Counts of swap, if it takes the pager's place.
    pub swap: Option<SwapCounts>,
}

impl Samples {
    /// Creates the record in `folder`.
    pub fn start(spec: &Spec, folder: &Path, tsc_mhz: u32, total: usize) -> Result<Self> {
        let mut recorder = Recorder::create(folder)?;
        recorder.add(&Entry::Machine(Machine::here(spec)?))?;
        recorder.add(&Entry::Guest { tsc_mhz })?;
        Ok(Self { recorder, total, done: 0, began: Instant::now(), current: None })
    }

    /// Records the start of a sample.
    pub fn sample_begins(&mut self, mode: Mode, point: Point, began: Counts) {
        if self.done == 0 {
            self.began = Instant::now();
        }
        let label = label(mode, &point);
        self.current = Some(Current { label, point, began, evicted: None, restored: None, ended: None });
    }

    /// A parameter of the sample that is running, if there is one.
    pub fn parameter(&self, name: &str) -> Option<f64> {
        self.current.as_ref()?.point.get(name).copied()
    }

    /// Returns true if a sample is under way.
    pub const fn is_running(&self) -> bool {
        self.current.is_some()
    }

    /// Records an eviction that left so many pages out of memory, for the sample that is running, if
    /// there is one.
    pub fn evicted(&mut self, out: u64, counts: Counts) {
        if let Some(current) = &mut self.current {
            current.evicted = Some((out, counts));
        }
    }

    /// Records that memory is about to be brought back: swap then reads pages that nobody touched.
    pub fn restoring(&mut self, counts: Option<SwapCounts>) {
        if let Some(current) = &mut self.current {
            current.restored = counts;
        }
    }

    /// Records the end of the measurement.
    pub fn measured(&mut self, counts: Counts) {
        if let Some(current) = &mut self.current {
            current.ended = Some(counts);
        }
    }

    /// Writes the result of the sample.
    ///
    /// # Errors
    /// It never began, or never ended, or cannot be written.
    pub fn sample(&mut self, mut sample: Sample) -> Result<()> {
        let Current { began, evicted, restored, ended, .. } =
            self.current.take().context("a sample that never began")?;
        let mut ended = ended.context("a sample that was never measured")?;
        ended.swap = restored.or(ended.swap);
        self.done += 1;
        add_host(&mut sample, host_counts(&began, evicted, &ended));
        self.recorder.add(&Entry::Sample(Box::new(sample)))
    }

    /// Records the end of all samples.
    pub fn end(&mut self, boot: Boot) -> Result<()> {
        self.recorder.add(&Entry::End(boot))
    }

    /// "12 of 60 samples, about 2m left; now async, tasks=4".
    pub fn progress(&self) -> String {
        let left = (self.done > 0).then(|| {
            let each = self.began.elapsed() / u32::try_from(self.done).unwrap_or(u32::MAX);
            let left = each * u32::try_from(self.total.saturating_sub(self.done)).unwrap_or(u32::MAX);
            let seconds = Duration::from_secs(left.as_secs().max(1));
            format!(", about {} left", humantime::format_duration(seconds))
        });
        let now = self.current.as_ref().map(|current| format!("; now {}", current.label));
        format!(
            "{} of {} samples{}{}",
            self.done,
            self.total,
            left.unwrap_or_default(),
            now.unwrap_or_default()
        )
    }
}

/// Adds the host's counts, and removes high-water marks, which are of all samples together.
fn add_host(sample: &mut Sample, host: Vec<(&str, u64)>) {
    sample.counts.retain(|name, _| !Counters::is_mark(name));
    sample.counts.extend(host.into_iter().map(|(name, count)| (format!("host_{name}"), count)));
}

/// The host's counts from a sample's start over its eviction to its end, by name.
fn host_counts(began: &Counts, evicted: Option<(u64, Counts)>, ended: &Counts) -> Vec<(&'static str, u64)> {
    let (out, at) = evicted.unwrap_or_else(|| (0, ended.clone()));
    let since = |of: fn(&Stats) -> u64, start: &Counts| of(&ended.pager).saturating_sub(of(&start.pager));
    let mut counts = match (began.swap, ended.swap) {
        (Some(start), Some(end)) => {
            let swap = end.since(&start);
            vec![
                ("out_pages", out),
                ("major_faults", swap.major_faults),
                ("swapped_in_pages", swap.swapped_in),
            ]
        }
        _ => vec![
            // Touched pages that came in, whether the guest took an async fault or its core was stopped.
            ("served_pages", since(|stats| stats.served_pages, began)),
            // Of those, the ones that a virtual CPU's own thread waited for: the guest was not told.
            ("untold_pages", since(|stats| stats.vcpu_page_ins, began)),
            ("evictions", since(|stats| stats.evictions, began)),
            // Those that the first eviction left out of memory, and those that others took out again.
            ("evicted_pages", out + since(|stats| stats.dropped_pages, &at)),
        ],
    };
    if let Some(host) = ended.trace.zip(began.trace).map(|(now, start)| now.since(&start)) {
        let HostCounts { not_present, ready, synchronous, repeated } = host;
        counts.extend([("not_present", not_present), ("ready", ready)]);
        counts.extend([("synchronous", synchronous), ("repeated", repeated)]);
    }
    counts
}

/// "async, tasks=4".
fn label(mode: Mode, point: &Point) -> String {
    let parameters = point.iter().map(|(name, value)| format!("{name}={value}"));
    [mode.name().to_owned()].into_iter().chain(parameters).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_by_its_mode_and_point() {
        let point = Point::from([("tasks".to_owned(), 4.0), ("page_latency_ms".to_owned(), 0.5)]);
        assert_eq!(label(Mode::Async, &point), "async, page_latency_ms=0.5, tasks=4");
    }

    #[test]
    fn pages_are_counted_from_start_to_end_and_evictions_from_the_first_on() {
        let counts = |served_pages, evictions, dropped_pages, ready| Counts {
            pager: Stats {
                served_pages,
                vcpu_page_ins: served_pages / 5,
                evictions,
                dropped_pages,
                ..Stats::default()
            },
            trace: Some(HostCounts { ready, repeated: ready / 2, ..HostCounts::default() }),
            ..Counts::default()
        };
        let evicted = Some((40, counts(10, 2, 90, 3)));
        let counted = host_counts(&counts(10, 1, 50, 2), evicted, &counts(45, 4, 97, 10));
        assert_eq!(counted[..2], [("served_pages", 35), ("untold_pages", 7)]);
        assert_eq!(counted[2..4], [("evictions", 3), ("evicted_pages", 47)]);
        assert_eq!(counted[4..], [("not_present", 0), ("ready", 8), ("synchronous", 0), ("repeated", 4)]);
        let mut sample = Sample::new(Mode::Async, Point::new());
        sample.counts = Counters { ready: 9, most_outstanding: 5, ..Default::default() }.to_counts();
        add_host(&mut sample, counted);
        assert_eq!((sample.counts["ready"], sample.counts["host_ready"]), (9, 8));
        assert!(!sample.counts.contains_key("most_outstanding"));
    }

    #[test]
    fn swap_counts_what_was_out_and_read_and_no_pager() {
        let counts = |major_faults, swapped_in| Counts {
            swap: Some(SwapCounts { out_pages: 1, major_faults, swapped_in }),
            ..Counts::default()
        };
        let counted = host_counts(&counts(10, 20), Some((9, Counts::default())), &counts(14, 28));
        assert_eq!(counted, [("out_pages", 9), ("major_faults", 4), ("swapped_in_pages", 8)]);
    }
}
