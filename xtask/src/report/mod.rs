//! What a run came to: one document, with the unit of every figure in its name.
//!
//! - [`contexts`]: the document of the experiment of that name
//! - [`latency`]: percentiles of the guest's histograms
//! - [`setting`]: what every document says of its run
//! - [`summary`]: the same for a person with ten seconds

mod contexts;
mod latency;
mod setting;
mod summary;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use apf_vocabulary::{Counters, Mode};
use serde::Serialize;

use crate::drive::spec::{HostCounts, Outcome, PassOutcome, Spec};
use crate::probe::Verdict;
use crate::run::{Experiment, RunArgs};
pub use latency::Latency;
pub use setting::Setting;

/// The document, of whichever experiment.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Document {
    Default(Box<Report>),
    Contexts(Box<contexts::Report>),
}

impl Document {
    /// Draws it up.
    ///
    /// # Errors
    /// A part is missing, or the service stayed off.
    pub fn new(args: &RunArgs, verdict: &Verdict, spec: &Spec, outcome: &Outcome) -> Result<Self> {
        if let Some(reason) = &outcome.service_off {
            bail!("the guest's service stayed off: {reason}");
        }
        Ok(match args.experiment {
            Experiment::Default => Self::Default(Box::new(Report::new(args, verdict, spec, outcome)?)),
            Experiment::Contexts | Experiment::Cores => {
                Self::Contexts(Box::new(contexts::Report::new(args, verdict, spec, outcome)))
            }
        })
    }

    /// Writes the document in one piece.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("json.new");
        let text = serde_json::to_string_pretty(self).context("plain data")?;
        fs::write(&new, text + "\n")
            .and_then(|()| fs::rename(&new, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The same for a person with ten seconds.
    pub fn text(&self) -> String {
        match self {
            Self::Default(report) => summary::text(report),
            Self::Contexts(report) => report.text(),
        }
    }

    /// What is not as it must be, whatever the speed.
    pub fn failures(&self) -> Vec<String> {
        match self {
            Self::Default(report) => report.failures(),
            Self::Contexts(report) => report.failures(),
        }
    }
}

/// The document of the default experiment.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub setting: Setting,
    pub tasks: u16,
    /// Pages read while the clock ran, in each pass.
    pub pages: u64,
    /// Pages of the memory filled with fingerprints.
    pub region_pages: usize,
    #[serde(rename = "async")]
    pub asynchronous: Async,
    pub blocked: Blocked,
    /// The host kernel's own counts during the async pass.
    pub host_trace: HostTrace,
    /// `blocked.seconds / async.seconds`
    pub speedup: f64,
    pub latency: Vec<Latency>,
    pub tsc_mhz: u32,
}

/// The pass with the service on.
#[derive(Debug, Serialize)]
pub struct Async {
    #[serde(flatten)]
    pub counters: Counters,
    #[serde(flatten)]
    pub pass: PassFigures,
}

/// The pass with the service off: the host stops the core at each fault.
#[derive(Debug, Serialize)]
pub struct Blocked {
    #[serde(flatten)]
    pub pass: PassFigures,
}

/// What both passes have.
#[derive(Debug, Serialize)]
pub struct PassFigures {
    pub seconds: f64,
    pub wrong_pages: usize,
    pub verified_pages: usize,
    pub wrong_verified_pages: usize,
    /// Share of its undisturbed speed that the computing task kept, 0 to 1.
    pub compute_kept: f64,
}

/// The host's counts; null where its tracing is not accessible.
#[derive(Debug, Serialize)]
pub struct HostTrace {
    pub not_present: Option<u64>,
    pub ready: Option<u64>,
    /// Faults that found 64 outstanding and stopped the core.
    pub synchronous: Option<u64>,
    pub unavailable: Option<String>,
}

impl Report {
    /// Draws up the report.
    ///
    /// # Errors
    /// A pass is missing.
    fn new(args: &RunArgs, verdict: &Verdict, spec: &Spec, outcome: &Outcome) -> Result<Self> {
        let of = |mode: Mode| {
            outcome
                .passes
                .iter()
                .find(|p| p.pass.mode == mode)
                .with_context(|| format!("the {} pass is missing", mode.name()))
        };
        let (on, off) = (of(Mode::Async)?, of(Mode::Blocked)?);
        Ok(Self {
            setting: Setting::of(args, verdict, spec, outcome),
            tasks: args.tasks(),
            pages: spec.pages.into(),
            region_pages: on.pass.verified_pages,
            asynchronous: Async { counters: on.pass.counters.clone(), pass: PassFigures::of(on) },
            blocked: Blocked { pass: PassFigures::of(off) },
            host_trace: HostTrace::of(on.host, outcome.host_trace_unavailable.clone()),
            speedup: off.pass.seconds / on.pass.seconds,
            latency: latency::all(&outcome.histograms),
            tsc_mhz: outcome.tsc_mhz,
        })
    }

    /// What is not as it must be, whatever the speed.
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut demand = |holds: bool, failure: String| {
            if !holds {
                failures.push(failure);
            }
        };
        for (name, pass) in [("async", &self.asynchronous.pass), ("blocked", &self.blocked.pass)] {
            let wrong = pass.wrong_pages + pass.wrong_verified_pages;
            demand(wrong == 0, format!("{wrong} pages with wrong content in the {name} pass"));
        }
        let c = &self.asynchronous.counters;
        demand(c.not_present > 0, "the host delivered no async page fault".into());
        let waits = c.schedule_waits + c.halt_waits + c.early_ready + c.overflow_retries;
        demand(
            waits == c.not_present,
            format!("{} not-present, but {waits} of them waited or retried", c.not_present),
        );
        demand(c.unknown_reason == 0, format!("{} page faults with unknown reasons", c.unknown_reason));
        failures.extend(self.host_trace.differences(c.not_present, c.ready));
        failures
    }
}

impl PassFigures {
    fn of(outcome: &PassOutcome) -> Self {
        let pass = &outcome.pass;
        Self {
            seconds: pass.seconds,
            wrong_pages: pass.wrong_pages,
            verified_pages: pass.verified_pages,
            wrong_verified_pages: pass.wrong_verified_pages,
            compute_kept: pass.compute_kept,
        }
    }
}

impl HostTrace {
    fn of(counts: HostCounts, unavailable: Option<String>) -> Self {
        let known = unavailable.is_none();
        Self {
            not_present: known.then_some(counts.not_present),
            ready: known.then_some(counts.ready),
            synchronous: known.then_some(counts.synchronous),
            unavailable,
        }
    }

    /// Where the guest counted something else.
    fn differences(&self, not_present: u64, ready: u64) -> Vec<String> {
        [("not-present", not_present, self.not_present), ("ready", ready, self.ready)]
            .into_iter()
            .filter_map(|(what, guest, host)| Some((what, guest, host.filter(|&host| host != guest)?)))
            .map(|(what, guest, host)| format!("the guest counted {guest} {what}, the host {host}"))
            .collect()
    }
}
