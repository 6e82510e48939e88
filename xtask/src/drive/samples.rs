//! The samples of an experiment while its guest runs: what the host counts
//! meanwhile, the record, and how long it will still take.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use unikernel::sample::Sample;

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
    pub fn sample_begins(&mut self, label: String, host: Option<HostCounts>, served: u64) {
        if self.done == 0 {
            self.began = Instant::now();
        }
        self.current = Some(Current { label, host, served });
    }

    /// It has ended: written down.
    ///
    /// # Errors
    /// It never began, or cannot be written.
    pub fn sample(&mut self, sample: Sample, host: Option<HostCounts>, served: u64) -> Result<()> {
        let begin = self.current.take().context("a sample that never began")?;
        self.done += 1;
        self.recorder.add(&Entry::Sample(Box::new(SampleOutcome {
            sample,
            host: host.zip(begin.host).map(|(now, begin)| now.since(&begin)),
            served_pages: served.saturating_sub(begin.served),
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
