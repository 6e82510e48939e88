//! `latency`: where does a fault's time go?

use apf_report::distribution::Distribution;
use apf_report::document::{Claim, Mode, Sample};

use super::definition::{Definition, LATENCY, fixed, varied};
use super::statistics::at;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "latency",
    question: "Where does a fault's time go: until its task is parked, in the host, to the service, \
               to the task that runs again?",
    variable: (LATENCY, "page latency in ms"),
    baseline: Mode::Halt,
    falsified_by: "a guest that adds as much to a page-in as the host takes for it",
    modes: &[Mode::Halt, Mode::Async],
    parameters: &[fixed("tasks", &[8.0]), varied(LATENCY, &[0.0, 1.0, 10.0], &[0.0, 0.1, 1.0, 10.0, 50.0])],
    claims: &[way_back],
    ..Definition::COMMON
};

fn way_back(samples: &[Sample]) -> Option<Claim> {
    let back = |mode, stage: &str| {
        let samples = at(samples, mode, &[(LATENCY, 10.0)]);
        let histograms = samples.flat_map(|sample| &sample.histograms).filter(|h| h.name == stage);
        Some(Distribution::of(histograms)?.at(0.5))
    };
    let scheduled = back(Mode::Async, "schedule ready→running")?;
    let halted = back(Mode::Halt, "halt ready→running")?;
    Some(Claim {
        text: "at 10 ms a page the way back, from ready to running, takes less than a tenth of that \
               (medians, 8 tasks)"
            .into(),
        measured: format!("{scheduled:.0} µs by schedule, {halted:.0} µs by halt"),
        holds: scheduled < 1000.0 && halted < 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use apf_report::document::Histogram;

    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn with(mode: Mode, name: &str, micros: u64) -> Sample {
        let histogram =
            Histogram { name: name.into(), per_us: 2.0, buckets: vec![(2 * micros, 3), (9999, 2)] };
        Sample { histograms: vec![histogram], ..sample(mode, &[(LATENCY, 10.0)], &[]) }
    }

    #[test]
    fn the_way_back_is_judged_by_medians() {
        let of = |micros| {
            let samples = [
                with(Mode::Async, "schedule ready→running", micros),
                with(Mode::Halt, "halt ready→running", 100),
            ];
            way_back(&samples).unwrap().holds
        };
        assert!(of(900) && !of(1100));
    }
}
