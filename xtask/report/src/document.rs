//! `report.json`: raw samples and the facts needed to judge them. Nothing in it is computed from
//! other parts of it: readers compute medians, percentiles and pictures from the samples.

use std::collections::BTreeMap;

pub use apf_vocabulary::{Fault, Histogram, Mode, Sample};
use serde::{Deserialize, Serialize};

/// Version of the layout. A change that an older reader would misunderstand raises it.
pub const SCHEMA: u32 = 2;

/// One run of one experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Experiment that was run.
    pub experiment: Experiment,
    /// Setting of the run.
    pub setting: Setting,
    /// Samples, in the order in which they were measured.
    pub samples: Vec<Sample>,
    /// Ends of the boots in which samples were measured, in the order of [`Sample::boot`].
    #[serde(default)]
    pub boots: Vec<Boot>,
    /// Curves to compare the samples with: an ideal, a limit.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Demands of the experiment and their verdicts.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// Question of an experiment, and its variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name on the command line: `overlap`.
    pub name: String,
    /// The question, one sentence.
    pub question: String,
    /// The independent variable: a name in [`Sample::parameters`].
    pub variable: Parameter,
    /// A second parameter; each of its values has a picture of its own.
    pub panel: Option<Parameter>,
    /// Mode with which the others are compared.
    pub baseline: Mode,
    /// Outcome that would show that the service is not worthwhile here.
    pub falsified_by: String,
    /// Metrics in [`Sample::metrics`], the most important first.
    pub metrics: Vec<Metric>,
}

/// Quantity that is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Key in [`Sample::parameters`]: `tasks`, `page_latency_ms`.
    pub name: String,
    /// Label of a picture's axis, unit included: "tasks that read", "page latency in ms".
    pub label: String,
}

/// Quantity that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Key in [`Sample::metrics`], with its unit: `seconds`.
    pub name: String,
    /// Label of a picture's axis, unit included.
    pub label: String,
    /// Direction of improvement.
    pub better: Better,
}

/// Direction in which a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Lower values are better: a time.
    Lower,
    /// Higher values are better: a throughput.
    Higher,
    /// Neither: a count for information.
    Neither,
}

/// Machines, versions and options of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `native` or `lab`.
    pub host: String,
    /// True if one instruction was one nanosecond.
    pub exact: bool,
    /// The host's processor.
    pub processor: String,
    /// The kernel of the guest's host, with its KVM.
    pub host_kernel: String,
    /// `uhyve` or `qemu`.
    pub vmm: String,
    /// Version as the VMM reports it.
    pub vmm_version: String,
    /// The guest's kernel.
    pub guest_kernel: String,
    /// The guest's virtual CPUs.
    pub cores: u32,
    /// The guest's memory.
    pub memory_mib: u32,
    /// Frequency of the guest's time-stamp counter.
    pub tsc_mhz: u32,
    /// Time that page-ins took, as on the command line, unless a parameter sets it.
    pub page_latency: String,
    /// Choice of evicted pages, as on the command line.
    #[serde(default = "all")]
    pub evict: String,
    /// Seed of contents, order and latencies.
    pub seed: u64,
    /// The revision that was built; `None` outside a git checkout.
    pub git_revision: Option<String>,
    /// True if the checkout differed from that revision.
    pub git_modified: bool,
    /// Command line.
    pub command: String,
    /// Start of the run, UTC, RFC 3339.
    pub began: String,
}

/// Value for documents from before there was a choice.
fn all() -> String {
    "all".into()
}

/// End of a boot of the guest, when all memory is back and has been compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Number of pages of the memory that samples read.
    pub compared_pages: u64,
    /// Number of them with wrong content.
    pub wrong_pages: u64,
    /// Largest number of waits at once, over all samples.
    pub most_waiting: u64,
    /// Largest number of faults at once that the host had not answered, over all samples.
    pub most_outstanding: u64,
}

/// Curve to compare the samples with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Name of the metric.
    pub metric: String,
    /// Name of the curve: "ideal: P·L / min(T, 64)".
    pub label: String,
    /// Points: parameters and value.
    pub points: Vec<(BTreeMap<String, f64>, f64)>,
}

/// Demand of the experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The demand, with its limit.
    pub text: String,
    /// Measured value, with its spread.
    pub measured: String,
    /// True if the demand is met.
    pub holds: bool,
}
