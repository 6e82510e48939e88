//! One measurement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::fault::Fault;
use crate::grid::Point;
use crate::histogram::Histogram;
use crate::mode::Mode;

/// One repetition at one point in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// How faults waited.
    pub mode: Mode,
    /// The point: the independent variable and whatever else was set.
    pub parameters: Point,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// Which boot of the guest, from 0.
    pub boot: u32,
    /// What was measured: see `Experiment::metrics`.
    pub metrics: BTreeMap<String, f64>,
    /// What the guest's service counted (`not_present`, …) and, behind `host_`, the host's kernel.
    pub counts: BTreeMap<String, u64>,
    /// Distributions.
    #[serde(default)]
    pub histograms: Vec<Histogram>,
    /// Single faults, where they were recorded.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Name in [`Sample::counts`] of pages whose content was not what had been written.
pub const WRONG_PAGES: &str = "wrong_pages";

impl Sample {
    /// Returns the service's counters, from [`counts`](Self::counts).
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::from_counts(&self.counts)
    }

    /// Returns the number of pages whose content was not what had been written.
    #[must_use]
    pub fn wrong_pages(&self) -> u64 {
        self.counts.get(WRONG_PAGES).copied().unwrap_or(0)
    }
}
