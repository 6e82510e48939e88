//! `sweep`: from which page latency on does yielding pay, and does the service
//! choose rightly?

use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST, PagedBy};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "sweep",
    question: "From which page latency on does yielding pay, where does halting win, and does the service \
               choose the better of the two?",
    variable: ("page_latency_ms", "page latency in ms"),
    panel: Some(("computing", "tasks that compute beside the one that reads")),
    baseline: Mode::Halt,
    falsified_by: "a latency at which what the service chooses by itself costs clearly more than a halt",
    metrics: &[
        (
            "cost_ms",
            "what a page costs in ms: core time taken from who computes, or alone the time",
            Better::Lower,
        ),
        ("compute_kept", "share of its work that a computing task keeps", Better::Higher),
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
    let latencies: &[f64] = match effort {
        Effort::Quick => &[0.01, 0.3, 1.0, 3.0, 10.0],
        Effort::Full => &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 50.0],
    };
    vec![Axis::new("computing", &[0.0, 1.0]), Axis::new("page_latency_ms", latencies)]
}

/// What a page costs, async and by halt, at each latency.
fn costs(samples: &[Sample], computing: f64) -> Vec<(f64, f64, f64)> {
    let cost = |mode, latency| {
        let point = [("computing", computing), ("page_latency_ms", latency)];
        Some(metric(at(samples, mode, &point), "cost_ms")?.median())
    };
    values_of(samples, "page_latency_ms")
        .into_iter()
        .filter_map(|latency| Some((latency, cost(Mode::Async, latency)?, cost(Mode::Halt, latency)?)))
        .collect()
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let (alone, beside) = (costs(samples, 0.0), costs(samples, 1.0));
    let claim = |text: &str, costs: &[(f64, f64, f64)], first: String| {
        let each =
            costs.iter().map(|(latency, chosen, halt)| format!("{latency} ms: {chosen:.2} and {halt:.2}"));
        (!costs.is_empty()).then(|| Claim {
            text: text.into(),
            measured: format!("{first}in ms, async and by halt, at {}", each.collect::<Vec<_>>().join(", ")),
            holds: costs.iter().all(|(_, chosen, halt)| *chosen <= 1.05 * halt),
        })
    };
    // The lowest latency from which on it pays everywhere.
    let pays = beside.iter().rev().take_while(|(_, schedule, halt)| schedule < halt).last();
    let from = pays.map_or("pays nowhere; ".into(), |(latency, ..)| format!("pays from {latency} ms on; "));
    [
        claim(
            "beside a computing task, where the service yields, a page costs the core at most 5 % more than \
             by halt, at any latency",
            &beside,
            format!("yielding {from}"),
        ),
        claim(
            "alone, where a halt cannot be beaten, the service comes within 5 % of it, at any latency",
            &alone,
            String::new(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn of(computing: f64, chosen: [f64; 3]) -> Claim {
        let latencies = [0.1, 1.0, 10.0];
        let samples: Vec<Sample> = latencies
            .into_iter()
            .zip(chosen)
            .flat_map(|(latency, cost)| {
                let point = [("page_latency_ms", latency), ("computing", computing)];
                [
                    sample(Mode::Async, &point, &[("cost_ms", cost)]),
                    sample(Mode::Halt, &point, &[("cost_ms", 0.5 + latency)]),
                ]
            })
            .collect();
        claims(&samples, 1).remove(0)
    }

    #[test]
    fn yielding_pays_from_where_it_is_cheaper_ever_after() {
        let pays = of(1.0, [0.62, 0.8, 0.8]);
        assert!(pays.holds && pays.measured.starts_with("yielding pays from 1 ms on"), "{pays:?}");
        assert!(!of(1.0, [0.64, 0.8, 0.8]).holds);
    }

    #[test]
    fn alone_every_latency_counts() {
        assert!(of(0.0, [0.63, 1.57, 11.0]).holds);
        assert!(!of(0.0, [0.63, 1.58, 11.0]).holds);
    }
}
