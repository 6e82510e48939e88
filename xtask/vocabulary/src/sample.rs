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
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Way in which faults waited.
    pub mode: Mode,
    /// Point: the independent variable and all other parameters.
    pub parameters: Point,
    /// Number of the repetition, from 0.
    pub repetition: u32,
    /// Number of the guest's boot, from 0; the guest itself leaves it 0.
    pub boot: u32,
    /// Measured values; `Experiment::metrics` describes them.
    pub metrics: BTreeMap<String, f64>,
    /// Counts of the guest's service (`not_present`, …) and, with the prefix `host_`, of the host.
    pub counts: BTreeMap<String, u64>,
    /// Distributions of this sample.
    #[serde(default)]
    pub histograms: Vec<Histogram>,
    /// Single faults, if they were recorded.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Name in [`Sample::counts`] of the number of pages with wrong content.
pub const WRONG_PAGES: &str = "wrong_pages";

impl Sample {
    /// Makes a sample with nothing measured.
    pub fn new(mode: Mode, parameters: Point) -> Self {
        Self {
            mode,
            parameters,
            repetition: 0,
            boot: 0,
            metrics: BTreeMap::new(),
            counts: BTreeMap::new(),
            histograms: vec![],
            faults: vec![],
        }
    }

    /// Returns the service's counters, from [`counts`](Self::counts).
    pub fn counters(&self) -> Counters {
        Counters::from_counts(&self.counts)
    }

    /// Returns the number of pages that were read with wrong content.
    pub fn wrong_pages(&self) -> u64 {
        self.counts.get(WRONG_PAGES).copied().unwrap_or(0)
    }
}
