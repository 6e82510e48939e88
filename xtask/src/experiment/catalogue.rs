//! What an experiment is, and which there are.

use anyhow::{Context, Result};
use apf_report::document::{Better, Claim, Mode, Reference, Sample};
use apf_vocabulary::grid::Axis;

use super::{compute, cost, halt, latency, overlap, peer, prefetch, storm, swap, sweep, tail};

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
    /// What the samples are held against.
    pub baseline: Mode,
    /// What would show that the service is not worth having here.
    pub falsified_by: &'static str,
    /// Name, label and direction; the most important first.
    pub metrics: &'static [(&'static str, &'static str, Better)],
    /// How faults wait, in turn.
    pub modes: &'static [Mode],
    /// Whether the instructions of its guests are counted one by one, which takes exact mode.
    pub profiled: bool,
    /// The values of its parameters.
    pub axes: fn(Effort) -> Vec<Axis>,
    /// Memory that is evicted.
    pub region_mib: u32,
    /// The guest's memory, unless the user says otherwise. A tenth of it is for
    /// the stacks of tasks.
    pub memory_mib: u32,
    /// What takes memory away, and brings it back.
    pub paged_by: PagedBy,
    /// Curves to hold the samples against.
    pub references: fn(&[Sample], u32) -> Vec<Reference>,
    /// What it demands of the samples.
    pub claims: fn(&[Sample], u32) -> Vec<Claim>,
}

impl Definition {
    /// Whether it has guests of both systems; then both run under QEMU.
    pub fn has_linux(&self) -> bool {
        self.modes.iter().any(|mode| mode.is_linux())
    }
}

/// Who pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagedBy {
    /// This project's pager, in the VMM.
    Pager,
    /// The host's own swap, on a scratch disk.
    Swap,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For a first look.
    Quick,
    /// For a paper.
    Full,
}

/// What most of them are about.
pub const MS_PER_PAGE: (&str, &str, Better) = ("ms_per_page", "time for each page in ms", Better::Lower);
/// How much a sample has read.
pub const PAGES: (&str, &str, Better) = ("pages", "pages read", Better::Neither);
/// What a fault costs, in every sample; see `experiments::fault_cost` of the guest.
pub const FAULT_COST: (&str, &str, Better) =
    ("fault_cost_ms", "a fault without latency, by halt, in ms", Better::Lower);

/// Every experiment.
pub const ALL: [&Definition; 11] = [
    &overlap::DEFINITION,
    &compute::DEFINITION,
    &latency::DEFINITION,
    &cost::DEFINITION,
    &halt::DEFINITION,
    &sweep::DEFINITION,
    &tail::DEFINITION,
    &storm::DEFINITION,
    &prefetch::DEFINITION,
    &peer::DEFINITION,
    &swap::DEFINITION,
];

/// The experiment of this name.
///
/// # Errors
/// There is none; the message says which there are.
pub fn find(name: &str) -> Result<&'static Definition> {
    ALL.into_iter().find(|definition| definition.name == name).with_context(|| {
        let names: Vec<_> = ALL.iter().map(|definition| definition.name).collect();
        format!("there is no experiment `{name}`; there are: {}", names.join(", "))
    })
}

/// All of them, for a person.
pub fn list() -> String {
    let entry = |d: &&Definition| {
        let values: Vec<String> = (d.axes)(Effort::Full).iter().map(Axis::to_string).collect();
        format!(
            "{}\n  question      {}\n  varies        {} ({})\n  baseline      {}\n  falsified by  {}",
            d.name,
            d.question,
            d.variable.1,
            values.join(" "),
            d.baseline.name(),
            d.falsified_by
        )
    };
    ALL.iter().map(entry).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_a_parameter_and_every_name_is_found() {
        for definition in ALL {
            for effort in [Effort::Quick, Effort::Full] {
                let axes = (definition.axes)(effort);
                let has = |name| axes.iter().any(|axis| axis.name == name && !axis.values.is_empty());
                assert!(has(definition.variable.0), "{}", definition.name);
                assert!(definition.panel.is_none_or(|(name, _)| has(name)), "{}", definition.name);
            }
            assert!(definition.modes.contains(&definition.baseline));
            assert_eq!(find(definition.name).unwrap().name, definition.name);
            assert!(list().contains(definition.falsified_by));
        }
        let error = find("overlapp").unwrap_err().to_string();
        assert!(error.contains("`overlapp`") && error.contains("overlap, compute"), "{error}");
    }

    #[test]
    fn without_samples_nothing_is_claimed() {
        for definition in ALL {
            assert_eq!((definition.claims)(&[], 1), vec![], "{}", definition.name);
            assert_eq!((definition.references)(&[], 1), vec![], "{}", definition.name);
        }
    }
}
