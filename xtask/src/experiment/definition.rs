//! The parts of an experiment, and parameters and metrics that many share.

use apf_report::document::{Better, Claim, Mode, Reference, Sample};
use apf_vocabulary::grid::Axis;

use crate::drive::evict::Taken;

/// A question, and how it is put to the guest.
#[derive(Debug)]
pub struct Definition {
    /// As on the command line; the guest knows it by the same name.
    pub name: &'static str,
    /// One sentence.
    pub question: &'static str,
    /// The independent variable: parameter and label.
    pub variable: (&'static str, &'static str),
    /// A parameter for each value of which there is a picture of its own.
    pub panel: Option<(&'static str, &'static str)>,
    /// The mode with which others are compared.
    pub baseline: Mode,
    /// Outcome that would show that the service is not worthwhile here.
    pub falsified_by: &'static str,
    /// Name, label and direction; the most important first.
    pub metrics: &'static [Metric],
    /// Ways in which faults wait, in turn.
    pub modes: &'static [Mode],
    /// True if the guests of both systems get the same load, a share of what the slower one serves.
    pub loaded: bool,
    /// True if the instructions of its guests are counted one by one, which takes exact mode.
    pub profiled: bool,
    /// The values of its parameters; the last one varies fastest.
    pub parameters: &'static [Parameter],
    /// Memory that samples read.
    pub region_mib: u32,
    /// The guest's memory, unless the user says otherwise. A tenth of it is for
    /// the stacks of tasks.
    pub memory_mib: u32,
    /// Origin of evictions and page-ins.
    pub paged_by: PagedBy,
    /// Memory that evictions take; a periodic one must leave time for its page-ins.
    pub evicts: Taken,
    /// Curves to compare the samples with.
    pub references: fn(&[Sample], u32) -> Vec<Reference>,
    /// Claims about the samples; each `None` without the samples that it needs.
    pub claims: &'static [ClaimOf],
}

/// A claim about samples.
type ClaimOf = fn(&[Sample]) -> Option<Claim>;

/// Name in samples, label with unit, direction.
pub type Metric = (&'static str, &'static str, Better);

impl Definition {
    /// Parts that most experiments have in common.
    pub const COMMON: Self = Self {
        name: "",
        question: "",
        variable: ("tasks", "tasks that read"),
        panel: None,
        baseline: Mode::Blocked,
        falsified_by: "",
        metrics: &[MS_PER_PAGE, PAGES, FAULT_COST],
        modes: &[Mode::Blocked, Mode::Halt, Mode::Async],
        loaded: false,
        profiled: false,
        parameters: &[],
        region_mib: 16,
        memory_mib: 256,
        paged_by: PagedBy::Pager,
        evicts: Taken::Data,
        references: |_, _| vec![],
        claims: &[],
    };

    /// Returns true if it has guests of both systems; then both run under QEMU.
    pub fn has_linux(&self) -> bool {
        self.modes.iter().any(|mode| mode.is_linux())
    }

    /// Returns the parameters with their values.
    pub fn axes(&self, effort: Effort) -> Vec<Axis> {
        let values = |parameter: &Parameter| match effort {
            Effort::Quick => parameter.quick,
            Effort::Full => parameter.full,
        };
        self.parameters.iter().map(|parameter| Axis::new(parameter.name, values(parameter))).collect()
    }
}

/// A parameter and its values.
#[derive(Debug)]
pub struct Parameter {
    name: &'static str,
    quick: &'static [f64],
    full: &'static [f64],
}

/// Makes a parameter with the same values whatever the effort.
pub const fn fixed(name: &'static str, values: &'static [f64]) -> Parameter {
    varied(name, values, values)
}

/// Makes a parameter with different values for a first look and for a paper.
pub const fn varied(name: &'static str, quick: &'static [f64], full: &'static [f64]) -> Parameter {
    Parameter { name, quick, full }
}

/// Origin of page-outs and page-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagedBy {
    /// This project's pager, in the VMM.
    Pager,
    /// The host's own swap, on a disk with a latency.
    Swap,
}

/// Amount of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For a first look.
    Quick,
    /// For a paper.
    Full,
}

/// Parameter that is the page latency.
pub const LATENCY: &str = "page_latency_ms";
/// Parameter of the number of pages that a sample reads, where the time does not limit it.
pub const PAGES_TO_READ: &str = "pages";
/// The page latency as a panel.
pub const LATENCY_PANEL: Option<(&str, &str)> = Some((LATENCY, "page latency in ms"));

/// Time for a page, which most of them measure.
pub const MS_PER_PAGE: Metric = ("ms_per_page", "time for each page in ms", Better::Lower);
/// Amount that a sample has read.
pub const PAGES: Metric = ("pages", "pages read", Better::Neither);
/// Work that is left for others.
pub const COMPUTE_KEPT: Metric =
    ("compute_kept", "share of its work that a computing task keeps", Better::Higher);
/// Cost of a fault, in every sample; see `experiments::fault_cost` of the guest.
pub const FAULT_COST: Metric = ("fault_cost_ms", "a fault without latency, by halt, in ms", Better::Lower);
