//! `report.json`: raw samples and what is needed to doubt them. Nothing in it is computed from
//! something else in it: medians, percentiles and pictures are drawn from the samples by whoever
//! reads it.

use std::collections::BTreeMap;

pub use apf_vocabulary::{Fault, Histogram, Mode, Sample};
use serde::{Deserialize, Serialize};

/// Version of the layout. A change that an older reader would misunderstand raises it.
pub const SCHEMA: u32 = 2;

/// One run of one experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was asked.
    pub experiment: Experiment,
    /// Where and how it was run.
    pub setting: Setting,
    /// What was measured, in the order in which it was.
    pub samples: Vec<Sample>,
    /// Curves to hold the samples against: an ideal, a limit.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// What the experiment demands, and whether it was so.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// What an experiment asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// As on the command line: `overlap`.
    pub name: String,
    /// The question, one sentence.
    pub question: String,
    /// The independent variable: a name in [`Sample::parameters`].
    pub variable: Parameter,
    /// A second parameter, for each value of which there is a picture of its own.
    pub panel: Option<Parameter>,
    /// What the samples are held against.
    pub baseline: Mode,
    /// What outcome would show that the service is not worth having here.
    pub falsified_by: String,
    /// What [`Sample::metrics`] hold, the most important first.
    pub metrics: Vec<Metric>,
}

/// Something that is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Key in [`Sample::parameters`]: `tasks`, `page_latency_ms`.
    pub name: String,
    /// For a picture's axis, unit included: "tasks that read", "page latency in ms".
    pub label: String,
}

/// Something that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Key in [`Sample::metrics`], with its unit: `seconds`.
    pub name: String,
    /// For a picture's axis, unit included.
    pub label: String,
    /// Which way is up.
    pub better: Better,
}

/// Which values of a metric are the good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Small ones: a time.
    Lower,
    /// Large ones: a throughput.
    Higher,
    /// Neither: a count that only has to be known.
    Neither,
}

/// Where and how a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `native` or `lab`.
    pub host: String,
    /// Whether one instruction was one nanosecond.
    pub exact: bool,
    /// The host's processor.
    pub processor: String,
    /// The kernel of the host of the guest: its KVM.
    pub host_kernel: String,
    /// `uhyve` or `qemu`.
    pub vmm: String,
    /// What it says of itself.
    pub vmm_version: String,
    /// The guest's kernel.
    pub guest_kernel: String,
    /// The guest's virtual CPUs.
    pub cores: u32,
    /// The guest's memory.
    pub memory_mib: u32,
    /// Frequency of the guest's time-stamp counter.
    pub tsc_mhz: u32,
    /// How long page-ins took, as on the command line, unless a parameter says so.
    pub page_latency: String,
    /// Which pages evictions took, and how often, as on the command line.
    #[serde(default = "all")]
    pub evict: String,
    /// Seed of contents, order and latencies.
    pub seed: u64,
    /// The revision that was built; `None` outside a git checkout.
    pub git_revision: Option<String>,
    /// Whether anything was changed since.
    pub git_modified: bool,
    /// What was typed.
    pub command: String,
    /// When it began, UTC, RFC 3339.
    pub began: String,
}

/// What evictions took before there was a choice.
fn all() -> String {
    "all".into()
}

/// A curve to hold the samples against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Which metric it is a value of.
    pub metric: String,
    /// What it is: "ideal: P·L / min(T, 64)".
    pub label: String,
    /// Its points: parameters and value.
    pub points: Vec<(BTreeMap<String, f64>, f64)>,
}

/// Something that the experiment demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The demand, with the limit in it.
    pub text: String,
    /// What was measured, with its spread.
    pub measured: String,
    /// Whether it was so.
    pub holds: bool,
}
