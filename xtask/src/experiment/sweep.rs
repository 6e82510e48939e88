//! `sweep`: from which page latency on does yielding pay, and does the service
//! choose rightly?

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{COMPUTE_KEPT, Definition, FAULT_COST, LATENCY, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric};

const COMPUTING: &str = "computing";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "sweep",
    question: "From which page latency on does yielding pay, where does halting win, and does the service \
               choose the better of the two?",
    variable: (LATENCY, "page latency in ms"),
    panel: Some((COMPUTING, "tasks that compute beside the one that reads")),
    baseline: Mode::Halt,
    falsified_by: "a latency at which the service's own choice costs clearly more than a halt",
    metrics: &[
        (
            "cost_ms",
            "cost of a page in ms: core time taken from the computing task, or alone the time",
            Better::Lower,
        ),
        COMPUTE_KEPT,
        FAULT_COST,
    ],
    parameters: &[
        fixed(COMPUTING, &[0.0, 1.0]),
        varied(LATENCY, &[0.01, 0.3, 1.0, 3.0, 10.0], &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 50.0]),
    ],
    claims: &[beside, alone],
    ..Definition::COMMON
};

/// Cost of a page at each latency: async, and by halt.
type Costs = Vec<(f64, (f64, f64))>;

fn costs(samples: &[Sample], computing: f64) -> Costs {
    at_each(samples, LATENCY, |latency| {
        let point = [(COMPUTING, computing), (LATENCY, latency)];
        let cost = |mode| Some(metric(at(samples, mode, &point), "cost_ms")?.median);
        Some((cost(Mode::Async)?, cost(Mode::Halt)?))
    })
}

fn claim(text: &str, costs: &Costs, first: &str) -> Option<Claim> {
    let claim = claim_at_each(
        text,
        costs,
        |(latency, (chosen, halt))| format!("{latency} ms: {chosen:.2} and {halt:.2}"),
        |(_, (chosen, halt))| *chosen <= 1.05 * halt,
    )?;
    Some(Claim { measured: format!("{first}in ms, async and by halt, at {}", claim.measured), ..claim })
}

fn beside(samples: &[Sample]) -> Option<Claim> {
    let costs = costs(samples, 1.0);
    // The lowest latency from which on it pays everywhere.
    let pays = costs.iter().rev().take_while(|(_, (schedule, halt))| schedule < halt).last();
    let from = pays.map_or("pays nowhere".into(), |(latency, _)| format!("pays from {latency} ms on"));
    claim(
        "beside a computing task, where the service yields, a page costs the core at most 5 % more than by \
         halt, at any latency",
        &costs,
        &format!("yielding {from}; "),
    )
}

fn alone(samples: &[Sample]) -> Option<Claim> {
    claim(
        "alone, where a halt cannot be beaten, the service comes within 5 % of it, at any latency",
        &costs(samples, 0.0),
        "",
    )
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
                let point = [(LATENCY, latency), (COMPUTING, computing)];
                [
                    sample(Mode::Async, &point, &[("cost_ms", cost)]),
                    sample(Mode::Halt, &point, &[("cost_ms", 0.5 + latency)]),
                ]
            })
            .collect();
        if computing > 0.0 { beside(&samples).unwrap() } else { alone(&samples).unwrap() }
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
