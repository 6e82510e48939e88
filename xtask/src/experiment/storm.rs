//! `storm`: what becomes of far more tasks than the host keeps faults
//! outstanding, with code and stacks evicted as well?

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{Definition, FAULT_COST, LATENCY, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric};

/// The experiment. Code and stacks go as well, again and again where evictions are periodic: how
/// far it gets then is its question.
pub const DEFINITION: Definition = Definition {
    name: "storm",
    question: "What becomes of throughput and fairness when far more tasks fault than the host keeps \
               outstanding, with code and stacks evicted as well?",
    falsified_by: "throughput that collapses beyond 64 tasks, or tasks that starve",
    metrics: &[
        ("pages_per_second", "pages read in a second", Better::Higher),
        ("fairness", "fairness among tasks (Jain's index)", Better::Higher),
        FAULT_COST,
    ],
    modes: &[Mode::Blocked, Mode::Async],
    parameters: &[
        fixed(LATENCY, &[2.0]),
        varied("tasks", &[64.0, 128.0], &[32.0, 64.0, 128.0, 256.0, 512.0]),
    ],
    region_mib: 32,
    memory_mib: 768,
    claims: &[throughput, fairness],
    ..Definition::COMMON
};

/// Medians beyond 64 tasks.
fn beyond(samples: &[Sample], name: &str) -> Vec<(f64, f64)> {
    at_each(samples, "tasks", |tasks| median(samples, tasks, name).filter(|_| tasks > 64.0))
}

fn median(samples: &[Sample], tasks: f64, name: &str) -> Option<f64> {
    Some(metric(at(samples, Mode::Async, &[("tasks", tasks)]), name)?.median)
}

fn throughput(samples: &[Sample]) -> Option<Claim> {
    let full = median(samples, 64.0, "pages_per_second")?;
    let claim = claim_at_each(
        "beyond 64 tasks at least 70 % of the throughput at 64 tasks is left",
        &beyond(samples, "pages_per_second"),
        |(tasks, rate)| format!("{tasks} tasks: {rate:.0}/s"),
        |(_, rate)| *rate >= 0.7 * full,
    )?;
    Some(Claim { measured: format!("64 tasks: {full:.0}/s, {}", claim.measured), ..claim })
}

fn fairness(samples: &[Sample]) -> Option<Claim> {
    claim_at_each(
        "no task starves: Jain's index of the pages that tasks read is at least 0.8",
        &beyond(samples, "fairness"),
        |(tasks, fairness)| format!("{tasks} tasks: {fairness:.2}"),
        |(_, fairness)| *fairness >= 0.8,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn collapse_and_starvation_are_seen() {
        let of = |rate: f64, fair: f64| {
            let at = |tasks, rate| {
                sample(Mode::Async, &[("tasks", tasks)], &[("pages_per_second", rate), ("fairness", fair)])
            };
            let samples = [at(64.0, 1000.0), at(256.0, rate)];
            [throughput(&samples), fairness(&samples)].map(|claim| claim.unwrap().holds)
        };
        assert_eq!(of(700.0, 0.8), [true, true]);
        assert_eq!(of(690.0, 0.7), [false, false]);
    }
}
