//! Every experiment.

use anyhow::{Context, Result};
use apf_vocabulary::grid::Axis;

use super::definition::{Definition, Effort};
use super::{compute, cost, halt, latency, overlap, peer, prefetch, run, serve, storm, swap, sweep, tail};

/// All experiments, in the order in which they run.
pub const ALL: [&Definition; 13] = [
    &run::DEFINITION,
    &overlap::DEFINITION,
    &compute::DEFINITION,
    &latency::DEFINITION,
    &cost::DEFINITION,
    &halt::DEFINITION,
    &sweep::DEFINITION,
    &tail::DEFINITION,
    &storm::DEFINITION,
    &serve::DEFINITION,
    &prefetch::DEFINITION,
    &peer::DEFINITION,
    &swap::DEFINITION,
];

/// Returns the experiment of this name.
pub fn find(name: &str) -> Result<&'static Definition> {
    ALL.into_iter().find(|definition| definition.name == name).with_context(|| {
        let names: Vec<_> = ALL.iter().map(|definition| definition.name).collect();
        format!("there is no experiment `{name}`; there are: {}", names.join(", "))
    })
}

/// Describes all experiments for a person.
pub fn list() -> String {
    let entry = |d: &&Definition| {
        let values: Vec<String> = d.axes(Effort::Full).iter().map(Axis::to_string).collect();
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
                let axes = definition.axes(effort);
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
    fn the_guest_knows_every_experiment() {
        let guest = crate::dirs::root().join("unikernel/src/experiments/mod.rs");
        let guest = std::fs::read_to_string(guest).unwrap();
        for Definition { name, .. } in ALL {
            let arms = [format!("\"{name}\" =>"), format!("\"{name}\" |")];
            assert!(arms.iter().any(|arm| guest.contains(arm)), "{name}");
        }
    }

    #[test]
    fn without_samples_nothing_is_claimed() {
        for definition in ALL {
            assert!(definition.claims.iter().all(|claim| claim(&[]).is_none()), "{}", definition.name);
            assert_eq!((definition.references)(&[], 1), vec![], "{}", definition.name);
        }
    }
}
