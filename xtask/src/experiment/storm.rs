//! `storm`: what becomes of far more tasks than the host keeps faults
//! outstanding, with code and stacks evicted as well?

use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST, PagedBy};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "storm",
    question: "What becomes of throughput and fairness when far more tasks fault than the host keeps \
               outstanding, with code and stacks evicted as well?",
    variable: ("tasks", "tasks that read"),
    panel: None,
    baseline: Mode::Blocked,
    falsified_by: "throughput that collapses beyond 64 tasks, or tasks that starve",
    metrics: &[
        ("pages_per_second", "pages read in a second", Better::Higher),
        ("fairness", "fairness among tasks (Jain's index)", Better::Higher),
        FAULT_COST,
    ],
    modes: &[Mode::Blocked, Mode::Async],
    profiled: false,
    axes,
    region_mib: 32,
    memory_mib: 768,
    paged_by: PagedBy::Pager,
    references: |_, _| vec![],
    claims,
};

fn axes(effort: Effort) -> Vec<Axis> {
    let tasks: &[f64] = match effort {
        Effort::Quick => &[64.0, 128.0],
        Effort::Full => &[32.0, 64.0, 128.0, 256.0, 512.0],
    };
    vec![Axis::new("page_latency_ms", &[2.0]), Axis::new("tasks", tasks)]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let median = |tasks, name| Some(metric(at(samples, Mode::Async, &[("tasks", tasks)]), name)?.median());
    let Some(full) = median(64.0, "pages_per_second") else { return vec![] };
    let beyond: Vec<(f64, f64, f64)> = values_of(samples, "tasks")
        .into_iter()
        .filter(|tasks| *tasks > 64.0)
        .filter_map(|tasks| Some((tasks, median(tasks, "pages_per_second")?, median(tasks, "fairness")?)))
        .collect();
    if beyond.is_empty() {
        return vec![];
    }
    let rates =
        beyond.iter().map(|(tasks, rate, _)| format!("{tasks} tasks: {rate:.0}/s")).collect::<Vec<_>>();
    let fairness =
        beyond.iter().map(|(tasks, _, fairness)| format!("{tasks} tasks: {fairness:.2}")).collect::<Vec<_>>();
    vec![
        Claim {
            text: "beyond 64 tasks at least 70 % of the throughput at 64 tasks is left".into(),
            measured: format!("64 tasks: {full:.0}/s, {}", rates.join(", ")),
            holds: beyond.iter().all(|(_, rate, _)| *rate >= 0.7 * full),
        },
        Claim {
            text: "no task starves: Jain's index of the pages that tasks read is at least 0.8".into(),
            measured: fairness.join(", "),
            holds: beyond.iter().all(|(.., fairness)| *fairness >= 0.8),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn collapse_and_starvation_are_seen() {
        let of = |rate: f64, fairness: f64| {
            let at = |tasks, rate| {
                sample(
                    Mode::Async,
                    &[("tasks", tasks)],
                    &[("pages_per_second", rate), ("fairness", fairness)],
                )
            };
            let samples = [at(64.0, 1000.0), at(256.0, rate)];
            claims(&samples, 1).iter().map(|claim| claim.holds).collect::<Vec<_>>()
        };
        assert_eq!(of(700.0, 0.8), [true, true]);
        assert_eq!(of(690.0, 0.7), [false, false]);
    }
}
