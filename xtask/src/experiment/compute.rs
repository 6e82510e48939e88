//! `compute`: the work that a computing task keeps while others fault.

use apf_report::document::{Better, Claim, Mode, Reference, Sample};
use apf_vocabulary::grid::Point;

use super::definition::{COMPUTE_KEPT, Definition, FAULT_COST, LATENCY, LATENCY_PANEL, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric, spread, summary, values_of};

const TASKS: &str = "faulting_tasks";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "compute",
    question: "How much of its work does a computing task keep while more and more others fault?",
    variable: (TASKS, "tasks that fault"),
    panel: LATENCY_PANEL,
    falsified_by: "a computing task that keeps less than the host's own cost of the faults leaves it",
    metrics: &[
        COMPUTE_KEPT,
        ("pages_per_second", "pages read in a second", Better::Higher),
        ("core_ms_per_page", "core time that a page costs the others, in ms", Better::Lower),
        FAULT_COST,
    ],
    parameters: &[
        fixed(LATENCY, &[50.0]),
        varied(TASKS, &[0.0, 1.0, 8.0, 64.0], &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
    ],
    references,
    claims: &[one_task, no_less_than_left],
    ..Definition::COMMON
};

/// Share of the core that the faults of a sample leave by their cost alone: 1 − rate · c.
fn left(sample: &Sample) -> Option<f64> {
    let rate = sample.metrics.get("pages_per_second")?;
    Some((1.0 - rate * sample.metrics.get(FAULT_COST.0)? / 1000.0).max(0.0))
}

fn references(samples: &[Sample], _cores: u32) -> Vec<Reference> {
    let latencies = values_of(samples, LATENCY);
    let points: Vec<_> = latencies
        .into_iter()
        .flat_map(|latency| values_of(samples, TASKS).into_iter().map(move |tasks| (tasks, latency)))
        .filter_map(|(tasks, latency)| {
            let point = [(TASKS, tasks), (LATENCY, latency)];
            let left: Vec<f64> = at(samples, Mode::Async, &point).filter_map(left).collect();
            let point: Point = point.map(|(name, value)| (name.to_owned(), value)).into();
            Some((point, summary(left)?.median))
        })
        .collect();
    let reference = Reference {
        metric: "compute_kept".into(),
        label: "what the cost of the async faults leaves: 1 − faults a second · c".into(),
        points,
    };
    if reference.points.is_empty() { vec![] } else { vec![reference] }
}

fn one_task(samples: &[Sample]) -> Option<Claim> {
    let point = [(TASKS, 1.0), (LATENCY, 50.0)];
    let kept = metric(at(samples, Mode::Async, &point), "compute_kept")?;
    Some(Claim {
        text: "with one faulting task at 50 ms a page at least 94 % of the work is kept".into(),
        measured: format!("{} %", spread(&kept, 100.0)),
        holds: kept.median >= 0.94,
    })
}

fn no_less_than_left(samples: &[Sample]) -> Option<Claim> {
    let margins = at_each(samples, TASKS, |tasks| {
        let margin = |sample: &Sample| Some(sample.metrics.get("compute_kept")? - left(sample)?);
        let margins: Vec<f64> = at(samples, Mode::Async, &[(TASKS, tasks)]).filter_map(margin).collect();
        summary(margins).filter(|_| tasks > 0.0)
    });
    claim_at_each(
        "never more than 3 percentage points less is kept than the cost of the faults leaves",
        &margins,
        |(tasks, margin)| format!("{tasks} tasks: {}", spread(margin, 100.0)),
        |(_, margin)| margin.median >= -0.03,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn kept(tasks: f64, kept: f64, rate: f64) -> Sample {
        sample(
            Mode::Async,
            &[(TASKS, tasks), (LATENCY, 50.0)],
            &[("compute_kept", kept), ("pages_per_second", rate), ("fault_cost_ms", 2.0)],
        )
    }

    #[test]
    fn the_reference_is_what_the_faults_leave() {
        let reference = &references(&[kept(1.0, 0.96, 20.0), kept(64.0, 0.0, 600.0)], 1)[0];
        let values: Vec<f64> = reference.points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [0.96, 0.0]);
    }

    #[test]
    fn claims_hold_or_not_by_the_figures() {
        let of = |one: f64, many: f64| {
            let samples = [kept(1.0, one, 20.0), kept(8.0, many, 160.0)];
            [one_task(&samples), no_less_than_left(&samples)].map(|claim| claim.unwrap().holds)
        };
        assert_eq!(of(0.95, 0.66), [true, true]);
        assert_eq!(of(0.93, 0.64), [false, false]);
    }
}
