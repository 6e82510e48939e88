//! The samples of an experiment while its guest runs: what the host counts
//! meanwhile, the record, and how long it will still take.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use unikernel::grid::Point;
use unikernel::sample::Sample;
use unikernel::wire::Mode;

use super::pager::{Evicted, Stats};
use super::record::{Entry, Machine, Recorder, SampleOutcome};
use super::spec::{HostCounts, Spec};

/// How far it is.
pub struct Samples {
    recorder: Recorder,
    total: usize,
    done: usize,
    /// When the first sample began.
    began: Instant,
    current: Option<Current>,
}

/// The sample that is running, with the host's counts at its begin.
struct Current {
    label: String,
    host: Option<HostCounts>,
    served: u64,
    evictions: Evictions,
}

/// Those of a sample.
#[derive(Default)]
struct Evictions {
    /// Completed before it.
    before: u64,
    /// Pages that its first one left out of memory.
    out: u64,
    /// Pages that evictions had dropped until then.
    dropped: u64,
}

impl Samples {
    /// Begins the record in `folder`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(spec: &Spec, folder: &Path, tsc_mhz: u32, total: usize) -> Result<Self> {
        let mut recorder = Recorder::begin(folder)?;
        recorder.add(&Entry::Machine(Machine::here(spec)?))?;
        recorder.add(&Entry::Guest { tsc_mhz })?;
        Ok(Self { recorder, total, done: 0, began: Instant::now(), current: None })
    }

    /// A sample begins.
    pub fn sample_begins(&mut self, mode: Mode, point: &Point, host: Option<HostCounts>, served: u64) {
        if self.done == 0 {
            self.began = Instant::now();
        }
        let label = label(mode, point);
        self.current = Some(Current { label, host, served, evictions: Evictions::default() });
    }

    /// Whether one is under way.
    pub const fn is_running(&self) -> bool {
        self.current.is_some()
    }

    /// Memory was paged out: for the sample that is running, if there is one.
    pub fn evicted(&mut self, evicted: &Evicted, stats: &Stats) {
        if let Some(current) = &mut self.current {
            current.evictions = Evictions {
                before: stats.evictions - 1,
                out: evicted.evicted_pages,
                dropped: stats.dropped_pages,
            };
        }
    }

    /// It has ended: written down.
    ///
    /// # Errors
    /// It never began, or cannot be written.
    pub fn sample(&mut self, sample: Sample, host: Option<HostCounts>, stats: &Stats) -> Result<()> {
        let begin = self.current.take().context("a sample that never began")?;
        self.done += 1;
        self.recorder.add(&Entry::Sample(Box::new(SampleOutcome {
            sample,
            host: host.zip(begin.host).map(|(now, begin)| now.since(&begin)),
            served_pages: stats.served_pages.saturating_sub(begin.served),
            evictions: stats.evictions - begin.evictions.before,
            evicted_pages: begin.evictions.out + stats.dropped_pages - begin.evictions.dropped,
        })))
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
}
