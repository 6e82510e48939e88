//! `tail`: what do requests see under an open-loop load?

use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST, PagedBy};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "tail",
    question: "What latencies do requests see, from their planned start on, when one in four touches an \
               evicted page?",
    variable: ("requests_per_second", "requests planned in a second"),
    panel: None,
    baseline: Mode::Blocked,
    falsified_by: "a tail that is longer with the service than without it, at any load",
    metrics: &[
        ("p99_ms", "99th percentile of request latency in ms", Better::Lower),
        ("p50_ms", "median request latency in ms", Better::Lower),
        ("p90_ms", "90th percentile of request latency in ms", Better::Lower),
        ("p999_ms", "99.9th percentile of request latency in ms", Better::Lower),
        ("max_ms", "largest request latency in ms", Better::Lower),
        ("served_per_second", "requests served in a second", Better::Higher),
        FAULT_COST,
    ],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async],
    profiled: false,
    axes,
    region_mib: 16,
    memory_mib: 256,
    paged_by: PagedBy::Pager,
    references: |_, _| vec![],
    claims,
};

fn axes(effort: Effort) -> Vec<Axis> {
    let rates: &[f64] = match effort {
        Effort::Quick => &[50.0, 200.0, 600.0],
        Effort::Full => &[25.0, 50.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1200.0],
    };
    vec![Axis::new("page_latency_ms", &[5.0]), Axis::new("requests_per_second", rates)]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let p99 =
        |mode, rate| Some(metric(at(samples, mode, &[("requests_per_second", rate)]), "p99_ms")?.median());
    let pairs: Vec<(f64, f64, f64)> = values_of(samples, "requests_per_second")
        .into_iter()
        .filter_map(|rate| Some((rate, p99(Mode::Async, rate)?, p99(Mode::Blocked, rate)?)))
        .collect();
    let each = pairs
        .iter()
        .map(|(rate, service, blocked)| format!("{rate}/s: {service:.1} and {blocked:.1} ms"))
        .collect::<Vec<_>>()
        .join(", ");
    if pairs.is_empty() {
        return vec![];
    }
    vec![Claim {
        text: "at every load the 99th percentile is no higher async than blocked".into(),
        measured: each,
        holds: pairs.iter().all(|(_, service, blocked)| service <= blocked),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn one_load_with_a_longer_tail_is_enough_to_fail() {
        let of = |second: f64| {
            let p99 = |mode, rate, ms| sample(mode, &[("requests_per_second", rate)], &[("p99_ms", ms)]);
            let samples = [
                p99(Mode::Async, 50.0, 8.0),
                p99(Mode::Blocked, 50.0, 9.0),
                p99(Mode::Async, 200.0, second),
                p99(Mode::Blocked, 200.0, 30.0),
            ];
            claims(&samples, 1)[0].holds
        };
        assert!(of(30.0) && !of(31.0));
    }
}
