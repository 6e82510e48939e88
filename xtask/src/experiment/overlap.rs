//! `overlap`: the share of their waiting that many tasks do at the same time.

use apf_report::document::{Claim, Mode, Reference, Sample};
use apf_vocabulary::grid::Point;

use super::definition::{Definition, FAULT_COST, LATENCY, LATENCY_PANEL, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric, spread, summary, values_of};

/// Faults that the host keeps outstanding for each core.
const OUTSTANDING: f64 = 64.0;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "overlap",
    question: "How long does it take to read evicted pages with more and more tasks, compared with \
               the ideal and with the limit that the host's own cost of a fault sets?",
    panel: LATENCY_PANEL,
    falsified_by: "a time for each page that does not fall with the number of tasks, or one task that \
                   is slower with the service than without it",
    parameters: &[
        fixed(LATENCY, &[0.0, 1.0, 10.0, 50.0]),
        varied("tasks", &[1.0, 8.0, 64.0], &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
    ],
    references,
    claims: &[full_overlap, one_task, no_latency],
    ..Definition::COMMON
};

/// `L / min(T, 64·cores)`
fn ideal(tasks: f64, latency_ms: f64, cores: u32) -> f64 {
    latency_ms / tasks.min(OUTSTANDING * f64::from(cores))
}

/// A curve of the time for each page along tasks and latency.
fn reference(samples: &[Sample], label: String, value: &dyn Fn(f64, f64) -> f64) -> Reference {
    let point =
        |tasks: f64, latency: f64| Point::from([("tasks".to_owned(), tasks), (LATENCY.to_owned(), latency)]);
    let tasks = values_of(samples, "tasks");
    let points = values_of(samples, LATENCY)
        .into_iter()
        .flat_map(|latency| tasks.iter().map(move |&tasks| (point(tasks, latency), value(tasks, latency))));
    Reference { metric: "ms_per_page".into(), label, points: points.collect() }
}

/// The ideal for these samples, if there are any.
pub fn ideals(samples: &[Sample], cores: u32) -> Vec<Reference> {
    let ideal = |tasks: f64, latency: f64| ideal(tasks, latency, cores);
    let ideals = reference(samples, "ideal: L / min(T, 64·cores)".into(), &ideal);
    if ideals.points.is_empty() { vec![] } else { vec![ideals] }
}

fn references(samples: &[Sample], cores: u32) -> Vec<Reference> {
    let Some(cost) = metric(samples.iter(), FAULT_COST.0) else { return vec![] };
    let attainable = |tasks: f64, latency: f64| ideal(tasks, latency, cores).max(cost.median);
    let label = format!("attainable: the ideal, but at least a fault's cost c = {:.2} ms", cost.median);
    let mut references = ideals(samples, cores);
    references.push(reference(samples, label, &attainable));
    references
}

/// Claims that 64 tasks nearly reach the attainable time.
fn full_overlap(samples: &[Sample]) -> Option<Claim> {
    let shares = at_each(samples, LATENCY, |latency| {
        // With the cost of a fault measured beside it, and the ideal of one core.
        let share = |sample: &Sample| {
            let cost = sample.metrics.get(FAULT_COST.0)?;
            Some(ideal(64.0, latency, 1).max(*cost) / sample.metrics.get("ms_per_page")?)
        };
        let point = [("tasks", 64.0), (LATENCY, latency)];
        let shares: Vec<f64> = at(samples, Mode::Async, &point).filter_map(share).collect();
        summary(shares).filter(|_| (1.0..=50.0).contains(&latency))
    });
    claim_at_each(
        "64 tasks reach at least 80 % of what is attainable, at 1 to 50 ms a page",
        &shares,
        |(latency, share)| format!("{latency} ms: {} %", spread(share, 100.0)),
        |(_, share)| share.median >= 0.8,
    )
}

/// Claims that a task alone is hardly slower with the service.
fn one_task(samples: &[Sample]) -> Option<Claim> {
    let ratios = at_each(samples, LATENCY, |latency| {
        let point = [("tasks", 1.0), (LATENCY, latency)];
        let of = |mode| Some(metric(at(samples, mode, &point), "ms_per_page")?.median);
        Some(of(Mode::Async)? / of(Mode::Blocked)?).filter(|_| latency > 0.0)
    });
    claim_at_each(
        "one task, async, is at most 10 % slower than blocked",
        &ratios,
        |(latency, ratio)| format!("{latency} ms: {:+.1} %", (ratio - 1.0) * 100.0),
        |(_, ratio)| *ratio <= 1.1,
    )
}

/// Pages without latency hang no task: a guest that hangs leaves no sample.
fn no_latency(samples: &[Sample]) -> Option<Claim> {
    let count = |mode| metric(at(samples, mode, &[(LATENCY, 0.0)]), "pages").map(|pages| pages.n);
    let (asynchronous, blocked) = (count(Mode::Async)?, count(Mode::Blocked)?);
    Some(Claim {
        text: "without any latency every sample reaches its end".into(),
        measured: format!("{asynchronous} async and {blocked} blocked samples did"),
        // An interrupted run may lack the last ones.
        holds: blocked - asynchronous <= 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn read(mode: Mode, tasks: f64, latency: f64, ms_per_page: f64) -> Sample {
        sample(
            mode,
            &[("tasks", tasks), (LATENCY, latency)],
            &[("ms_per_page", ms_per_page), ("fault_cost_ms", 2.0), ("pages", 100.0)],
        )
    }

    #[test]
    fn the_attainable_is_the_ideal_or_the_cost() {
        let samples = [read(Mode::Async, 64.0, 50.0, 3.0), read(Mode::Async, 1.0, 50.0, 52.0)];
        let references = references(&samples, 1);
        let at = |index: usize, tasks: f64| {
            references[index].points.iter().find(|(point, _)| point["tasks"] == tasks).unwrap().1
        };
        assert_eq!((at(0, 64.0), at(0, 1.0)), (0.78125, 50.0));
        assert_eq!((at(1, 64.0), at(1, 1.0)), (2.0, 50.0));
    }

    #[test]
    fn claims_hold_or_not_by_the_figures() {
        let of = |overlapped: f64, alone: f64| {
            let samples = [
                read(Mode::Async, 64.0, 10.0, overlapped),
                read(Mode::Async, 1.0, 10.0, alone),
                read(Mode::Blocked, 1.0, 10.0, 12.0),
                read(Mode::Async, 1.0, 0.0, 2.0),
                read(Mode::Blocked, 1.0, 0.0, 2.0),
            ];
            DEFINITION.claims.iter().map(|claim| claim(&samples).unwrap().holds).collect::<Vec<_>>()
        };
        assert_eq!(of(2.4, 13.0), [true, true, true]);
        assert_eq!(of(2.6, 13.3), [false, false, true]);
    }
}
