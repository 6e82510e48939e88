//! `halt`: the cost of non-preemptible sections.

use apf_report::document::{Claim, Mode, Sample};

use super::definition::{Definition, LATENCY, fixed, varied};
use super::statistics::{at, metric};

const GUARDED: &str = "guarded_percent";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "halt",
    question: "What do non-preemptible sections cost, from no fault inside them to all?",
    variable: (GUARDED, "faults inside guards in %"),
    falsified_by: "guarded faults that cost more than a core that is blocked by each fault",
    modes: &[Mode::Blocked, Mode::Async],
    parameters: &[
        fixed(LATENCY, &[10.0]),
        fixed("tasks", &[16.0]),
        varied(GUARDED, &[0.0, 10.0, 50.0, 100.0], &[0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0]),
    ],
    claims: &[no_slower],
    ..Definition::COMMON
};

fn no_slower(samples: &[Sample]) -> Option<Claim> {
    let time = |mode| Some(metric(at(samples, mode, &[(GUARDED, 100.0)]), "ms_per_page")?.median);
    let (guarded, blocked) = (time(Mode::Async)?, time(Mode::Blocked)?);
    Some(Claim {
        text: "with every fault inside a guard a page takes at most 10 % longer than blocked".into(),
        measured: format!("{guarded:.2} ms, blocked {blocked:.2} ms"),
        holds: guarded <= 1.1 * blocked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn guarded_is_compared_with_blocked() {
        let of = |guarded| {
            let point = [(GUARDED, 100.0)];
            let samples = [
                sample(Mode::Async, &point, &[("ms_per_page", guarded)]),
                sample(Mode::Blocked, &point, &[("ms_per_page", 12.0)]),
            ];
            no_slower(&samples).unwrap().holds
        };
        assert!(of(13.0) && !of(13.5));
    }
}
