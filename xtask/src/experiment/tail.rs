//! `tail`: request latencies under an open-loop load.

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{Definition, FAULT_COST, LATENCY, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric};

const RATE: &str = "requests_per_second";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "tail",
    question: "What latencies do requests see, from their planned start on, when one in four touches an \
               evicted page?",
    variable: (RATE, "requests planned in a second"),
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
    parameters: &[
        fixed(LATENCY, &[5.0]),
        varied(RATE, &[50.0, 200.0, 600.0], &[25.0, 50.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1200.0]),
    ],
    claims: &[no_longer],
    ..Definition::COMMON
};

fn no_longer(samples: &[Sample]) -> Option<Claim> {
    let pairs = at_each(samples, RATE, |rate| {
        let p99 = |mode| Some(metric(at(samples, mode, &[(RATE, rate)]), "p99_ms")?.median);
        Some((p99(Mode::Async)?, p99(Mode::Blocked)?))
    });
    claim_at_each(
        "at every load the 99th percentile is no higher async than blocked",
        &pairs,
        |(rate, (service, blocked))| format!("{rate}/s: {service:.1} and {blocked:.1} ms"),
        |(_, (service, blocked))| service <= blocked,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn one_load_with_a_longer_tail_is_enough_to_fail() {
        let of = |second: f64| {
            let p99 = |mode, rate, ms| sample(mode, &[(RATE, rate)], &[("p99_ms", ms)]);
            let samples = [
                p99(Mode::Async, 50.0, 8.0),
                p99(Mode::Blocked, 50.0, 9.0),
                p99(Mode::Async, 200.0, second),
                p99(Mode::Blocked, 200.0, 30.0),
            ];
            no_longer(&samples).unwrap().holds
        };
        assert!(of(30.0) && !of(31.0));
    }
}
