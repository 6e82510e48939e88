//! `run`: a first look at all of it, at one point.

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{COMPUTE_KEPT, Definition, FAULT_COST, LATENCY, PAGES_TO_READ, fixed, varied};
use super::statistics::{at, metric};
use crate::drive::evict::Taken;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "run",
    question: "How much sooner have tasks read evicted pages while one computes, and how much of its work is \
               left for that one, with code and stacks evicted as well?",
    falsified_by: "tasks that have read their pages no sooner than with a core that stops at each fault",
    metrics: &[("seconds", "time to read all pages in s", Better::Lower), COMPUTE_KEPT, FAULT_COST],
    modes: &[Mode::Async, Mode::Blocked],
    parameters: &[
        fixed(LATENCY, &[20.0]),
        fixed("tasks", &[32.0]),
        varied(PAGES_TO_READ, &[512.0], &[2560.0]),
    ],
    region_mib: 64,
    evicts: Taken::Everything,
    claims: &[sooner],
    ..Definition::COMMON
};

fn sooner(samples: &[Sample]) -> Option<Claim> {
    let seconds = |mode| Some(metric(at(samples, mode, &[]), "seconds")?.median);
    let (asynchronous, blocked) = (seconds(Mode::Async)?, seconds(Mode::Blocked)?);
    Some(Claim {
        text: "all pages are read sooner async than blocked".into(),
        measured: format!("{asynchronous:.2} s, blocked {blocked:.2} s"),
        holds: asynchronous < blocked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn async_must_be_sooner_than_blocked() {
        let of = |seconds| {
            let samples = [
                sample(Mode::Async, &[], &[("seconds", seconds)]),
                sample(Mode::Blocked, &[], &[("seconds", 60.0)]),
            ];
            sooner(&samples).unwrap().holds
        };
        assert!(of(5.0) && !of(60.0));
    }
}
