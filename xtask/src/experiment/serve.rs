//! `serve`: a key-value store under an open-loop load, of whose values only a share is local.

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{Definition, FAULT_COST, LATENCY, fixed, varied};
use super::statistics::{at, metric, spread, values_of};

const RATE: &str = "requests_per_second";
const LOCAL: &str = "local_percent";
const SCANS: &str = "scan_percent";
const SERVED: &str = "served_per_second";
const TAIL: &str = "p999_ms";
/// The share and the latency of the claims.
const QUARTER: f64 = 25.0;
const LATENCY_MS: f64 = 5.0;
/// Objective: a 99.9th percentile of so many page latencies at most.
const OBJECTIVE: f64 = 20.0;
/// Load of the tail's claims, as a share of what is served async at most.
const LOAD: f64 = 0.7;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "serve",
    question: "What latencies does a key-value store have, and how much does it serve, when only a share of its \
               values is local and popular keys are asked for most?",
    variable: (RATE, "requests planned in a second"),
    panel: Some((LOCAL, "percentage of the values that is local")),
    falsified_by: "a tail that is no shorter with the service than without it, at a load that both serve",
    metrics: &[
        (TAIL, "99.9th percentile of request latency in ms, from the planned start", Better::Lower),
        ("p99_ms", "99th percentile of request latency in ms", Better::Lower),
        ("p90_ms", "90th percentile of request latency in ms", Better::Lower),
        ("p50_ms", "median request latency in ms", Better::Lower),
        ("max_ms", "largest request latency in ms", Better::Lower),
        (SERVED, "requests served in a second", Better::Higher),
        ("given_up", "share of requests that were not served, and count with their age", Better::Lower),
        ("scan_p99_ms", "99th percentile of the latency of a SCAN of 100 values, in ms", Better::Lower),
        FAULT_COST,
    ],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async, Mode::LinuxBlocked, Mode::LinuxAsync],
    parameters: &[
        fixed(LATENCY, &[LATENCY_MS]),
        fixed(SCANS, &[0.0]),
        varied(LOCAL, &[QUARTER], &[100.0, 75.0, 50.0, QUARTER, 12.0]),
        varied(
            RATE,
            &[100.0, 1000.0, 10_000.0],
            &[100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0, 12_800.0, 25_600.0],
        ),
    ],
    // The values are memory of their own, of 16 MiB.
    region_mib: 1,
    claims: &[shorter_than_blocked, shorter_than_linux, more_than_blocked, more_than_linux, as_fast],
    ..Definition::COMMON
};

fn at_quarter(samples: &[Sample], mode: Mode, rate: f64, name: &str) -> Option<f64> {
    let point = [(LOCAL, QUARTER), (LATENCY, LATENCY_MS), (SCANS, 0.0), (RATE, rate)];
    Some(metric(at(samples, mode, &point), name)?.median)
}

/// Returns the highest load up to [`LOAD`] of what is served async at most, and that maximum.
fn load(samples: &[Sample]) -> Option<(f64, f64)> {
    let rates = values_of(samples, RATE);
    let served = rates.iter().filter_map(|&rate| at_quarter(samples, Mode::Async, rate, SERVED));
    let most = served.fold(0.0, f64::max);
    let rate = rates.into_iter().rfind(|&rate| rate <= LOAD * most)?;
    Some((rate, most))
}

/// Compares tails at that load.
fn shorter(samples: &[Sample], other: Mode, share: f64, text: &str) -> Option<Claim> {
    let (rate, most) = load(samples)?;
    let tail = |mode| at_quarter(samples, mode, rate, TAIL);
    let (service, other) = (tail(Mode::Async)?, tail(other)?);
    Some(Claim {
        text: text.into(),
        measured: format!(
            "{:.2} times as long: {service:.0} and {other:.0} ms at {rate} requests a second, {:.0} % of {most:.0}",
            service / other,
            100.0 * rate / most
        ),
        holds: service <= share * other,
    })
}

fn shorter_than_blocked(samples: &[Sample]) -> Option<Claim> {
    const TEXT: &str = "with a quarter local and a load of at most 70 % of what async serves, the 99.9th \
                        percentile is at most a tenth of blocked";
    shorter(samples, Mode::Blocked, 0.1, TEXT)
}

fn shorter_than_linux(samples: &[Sample]) -> Option<Claim> {
    const TEXT: &str = "at that load the 99.9th percentile is at most half of Linux's, both async";
    shorter(samples, Mode::LinuxAsync, 0.5, TEXT)
}

/// Returns the highest of the measured loads at which `mode` meets the objective; 0 if it meets it at none.
fn objective(samples: &[Sample], mode: Mode) -> Option<f64> {
    let tails = values_of(samples, RATE)
        .into_iter()
        .filter_map(|rate| Some((rate, at_quarter(samples, mode, rate, TAIL)?)));
    let tails: Vec<_> = tails.collect();
    let met = tails.iter().filter(|(_, tail)| *tail <= OBJECTIVE * LATENCY_MS).map(|(rate, _)| *rate);
    (!tails.is_empty()).then(|| met.fold(0.0, f64::max))
}

fn more(samples: &[Sample], other: Mode, factor: f64, text: &str) -> Option<Claim> {
    let (service, other) = (objective(samples, Mode::Async)?, objective(samples, other)?);
    Some(Claim {
        text: text.into(),
        measured: format!("up to {service} and {other} of the measured loads, requests a second"),
        holds: service > 0.0 && service >= factor * other,
    })
}

fn more_than_blocked(samples: &[Sample]) -> Option<Claim> {
    const TEXT: &str = "with a quarter local the 99.9th percentile stays within 20 page latencies up to a load \
                        that is at least 5 times as high as blocked";
    more(samples, Mode::Blocked, 5.0, TEXT)
}

fn more_than_linux(samples: &[Sample]) -> Option<Claim> {
    const TEXT: &str = "and up to one that is at least 1.5 times as high as Linux's, both async";
    more(samples, Mode::LinuxAsync, 1.5, TEXT)
}

fn as_fast(samples: &[Sample]) -> Option<Claim> {
    let rate = values_of(samples, RATE).into_iter().next()?;
    let median = |mode| metric(at(samples, mode, &[(LOCAL, 100.0), (SCANS, 0.0), (RATE, rate)]), "p50_ms");
    let (service, without) = (median(Mode::Async)?, median(Mode::Blocked)?);
    Some(Claim {
        text: "with everything local and the lowest load the median latency is at most 1 % longer with the \
               service than without it"
            .into(),
        measured: format!("{} and {} µs", spread(&service, 1000.0), spread(&without, 1000.0)),
        holds: service.median <= 1.01 * without.median,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn point(mode: Mode, local: f64, rate: f64, tail: f64, served: f64) -> Sample {
        let parameters = [(LOCAL, local), (LATENCY, 5.0), (SCANS, 0.0), (RATE, rate)];
        sample(mode, &parameters, &[(TAIL, tail), (SERVED, served), ("p50_ms", tail / 10.0)])
    }

    /// Tails at loads of 100, 500 and 1,000 a second, of which 800 are served at most.
    fn verdicts(service: [f64; 3], blocked: [f64; 3], linux: [f64; 3]) -> Vec<bool> {
        let of = |mode, tails: [f64; 3]| {
            let points = [(100.0, 100.0), (500.0, 500.0), (1000.0, 800.0)].into_iter().zip(tails);
            points
                .map(move |((rate, served), tail)| point(mode, 25.0, rate, tail, served))
                .collect::<Vec<_>>()
        };
        let samples =
            [of(Mode::Async, service), of(Mode::Blocked, blocked), of(Mode::LinuxAsync, linux)].concat();
        DEFINITION.claims.iter().filter_map(|claim| Some(claim(&samples)?.holds)).collect()
    }

    #[test]
    fn the_tail_is_compared_at_the_highest_load_below_the_limit() {
        assert_eq!(
            verdicts([10.0, 20.0, 900.0], [10.0, 200.0, 900.0], [10.0, 40.0, 900.0])[..2],
            [true, true]
        );
        assert_eq!(
            verdicts([10.0, 21.0, 900.0], [10.0, 200.0, 900.0], [10.0, 40.0, 900.0])[..2],
            [false, false]
        );
    }

    #[test]
    fn the_objective_is_met_up_to_a_load() {
        assert_eq!(
            verdicts([10.0, 100.0, 900.0], [100.0, 900.0, 900.0], [99.0, 101.0, 900.0])[2..],
            [true, true]
        );
        assert_eq!(
            verdicts([10.0, 101.0, 900.0], [100.0, 900.0, 900.0], [99.0, 99.0, 900.0])[2..],
            [false, false]
        );
        assert_eq!(verdicts([900.0; 3], [900.0; 3], [900.0; 3])[2..], [false, false], "nobody meets it");
    }

    #[test]
    fn with_everything_local_the_medians_are_compared() {
        let of = |service| {
            let samples = [
                point(Mode::Async, 100.0, 100.0, service, 100.0),
                point(Mode::Blocked, 100.0, 100.0, 1.0, 100.0),
            ];
            as_fast(&samples).unwrap().holds
        };
        assert!(of(1.01) && !of(1.02));
    }
}
