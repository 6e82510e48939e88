//! What every document says of its run.

use std::fmt;

use serde::Serialize;

use crate::drive::spec::{Outcome, Spec};
use crate::probe::Verdict;
use crate::run::RunArgs;
use crate::versions::VERSIONS;

/// Version of the documents' layout.
const SCHEMA: u32 = 1;

/// Where and how the run was made.
#[derive(Debug, Default, Serialize)]
pub struct Setting {
    /// Version of this layout.
    pub schema: u32,
    pub experiment: &'static str,
    pub vmm: &'static str,
    /// "native" or "lab".
    pub host: &'static str,
    /// Whether one instruction was one nanosecond.
    pub exact: bool,
    pub kernel_version: String,
    pub cores: usize,
    /// As on the command line.
    pub page_latency: String,
    /// Its mean.
    pub page_latency_us: u128,
    /// Which pages went out, as on the command line.
    pub evict: String,
    pub memory_mib: u32,
    pub seed: u64,
}

impl Setting {
    pub fn of(args: &RunArgs, verdict: &Verdict, spec: &Spec, outcome: &Outcome) -> Self {
        Self {
            schema: SCHEMA,
            experiment: args.experiment.name(),
            vmm: spec.vmm.name(),
            host: verdict.name(),
            exact: spec.exact,
            kernel_version: VERSIONS.hermit.kernel.clone(),
            cores: outcome.cores,
            page_latency: spec.page_latency.to_string(),
            page_latency_us: spec.page_latency.mean().as_micros(),
            evict: spec.evict.to_string(),
            memory_mib: spec.memory_mib,
            seed: args.seed,
        }
    }
}

/// The guest and its host, in a few words.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { kernel_version, vmm, host, cores, .. } = self;
        let exact = if self.exact { " (exact)" } else { "" };
        write!(f, "Hermit {kernel_version} under {vmm}, {host} host{exact}, {cores} core(s)")
    }
}
