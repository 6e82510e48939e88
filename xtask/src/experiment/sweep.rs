//! `sweep`: from which page latency on does yielding pay?

use apf_report::document::{Better, Claim, Mode, Sample};
use unikernel::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "sweep",
    question: "From which page latency on does a wait by schedule cost the core less than a halt?",
    variable: ("page_latency_ms", "page latency in ms"),
    panel: None,
    baseline: Mode::Halt,
    falsified_by: "a wait by schedule that costs as much as a halt even when pages take 50 ms",
    metrics: &[
        ("core_ms_per_page", "core time that a page costs the others, in ms", Better::Lower),
        ("compute_kept", "share of its work that a computing task keeps", Better::Higher),
        ("pages_per_second", "pages read in a second", Better::Higher),
        FAULT_COST,
    ],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async],
    axes,
    region_mib: 16,
    memory_mib: 256,
    references: |_, _| vec![],
    claims,
};

fn axes(effort: Effort) -> Vec<Axis> {
    let latencies: &[f64] = match effort {
        Effort::Quick => &[0.01, 0.1, 1.0, 10.0, 50.0],
        Effort::Full => &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 50.0],
    };
    vec![Axis::new("faulting_tasks", &[1.0]), Axis::new("page_latency_ms", latencies)]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let cost = |mode, latency| {
        Some(metric(at(samples, mode, &[("page_latency_ms", latency)]), "core_ms_per_page")?.median())
    };
    let latencies = values_of(samples, "page_latency_ms");
    let costs: Vec<(f64, f64, f64)> = latencies
        .into_iter()
        .filter_map(|latency| Some((latency, cost(Mode::Async, latency)?, cost(Mode::Halt, latency)?)))
        .collect();
    if costs.is_empty() {
        return vec![];
    }
    // The lowest latency from which on it pays everywhere.
    let pays = costs.iter().rev().take_while(|(_, schedule, halt)| schedule < halt).last();
    let each = costs
        .iter()
        .map(|(latency, schedule, halt)| format!("{latency} ms: {schedule:.2} and {halt:.2}"))
        .collect::<Vec<_>>()
        .join(", ");
    let from = pays.map_or("nowhere".into(), |(latency, ..)| format!("from {latency} ms on"));
    vec![Claim {
        text: "from 1 ms on a wait by schedule costs the core less than a halt".into(),
        measured: format!("{from} (core time in ms for a page by schedule and by halt, at {each})"),
        holds: pays.is_some_and(|(latency, ..)| *latency <= 1.0),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn it_pays_from_where_it_is_cheaper_ever_after() {
        let of = |schedule: [f64; 3]| {
            let latencies = [0.1, 1.0, 10.0];
            let samples: Vec<Sample> = latencies
                .into_iter()
                .zip(schedule)
                .flat_map(|(latency, cost)| {
                    let point = [("page_latency_ms", latency)];
                    [
                        sample(Mode::Async, &point, &[("core_ms_per_page", cost)]),
                        sample(Mode::Halt, &point, &[("core_ms_per_page", 0.5 + latency)]),
                    ]
                })
                .collect();
            claims(&samples, 1).remove(0)
        };
        let pays = of([0.8, 0.8, 0.8]);
        assert!(pays.holds && pays.measured.starts_with("from 1 ms on"), "{pays:?}");
        assert!(!of([0.5, 1.6, 0.8]).holds && !of([0.5, 0.5, 11.0]).holds);
    }
}
