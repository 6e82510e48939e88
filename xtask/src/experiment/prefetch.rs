//! `prefetch`: the gain of announcing memory before it is read.

use apf_report::document::{Better, Claim, Mode, Sample};

use super::definition::{Definition, FAULT_COST, LATENCY, MS_PER_PAGE, PAGES, fixed, varied};
use super::statistics::{at, at_each, claim_at_each, metric};

const HELPERS: &str = "helpers";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "prefetch",
    question: "What does a task that reads one page after the other gain by announcing them beforehand?",
    variable: (HELPERS, "tasks that touch announced memory"),
    falsified_by: "a time for each page that does not fall with the number of helpers",
    metrics: &[MS_PER_PAGE, PAGES, ("pages_announced", "pages announced", Better::Neither), FAULT_COST],
    modes: &[Mode::Blocked, Mode::Async],
    parameters: &[
        fixed(LATENCY, &[10.0]),
        varied(HELPERS, &[0.0, 4.0, 32.0], &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
    ],
    claims: &[faster],
    ..Definition::COMMON
};

fn faster(samples: &[Sample]) -> Option<Claim> {
    let time = |helpers| Some(metric(at(samples, Mode::Async, &[(HELPERS, helpers)]), "ms_per_page")?.median);
    let plain = time(0.0)?;
    let gains = at_each(samples, HELPERS, |helpers| Some(plain / time(helpers)?).filter(|_| helpers >= 4.0));
    claim_at_each(
        "four helpers and more make a task that reads one page after the other at least 3 times faster",
        &gains,
        |(helpers, gain)| format!("{helpers} helpers: {gain:.1} times"),
        |(_, gain)| *gain >= 3.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn the_gain_is_against_plain_faulting() {
        let of = |ms| {
            let samples = [(0.0, 12.0), (4.0, ms)]
                .map(|(helpers, ms)| sample(Mode::Async, &[(HELPERS, helpers)], &[("ms_per_page", ms)]));
            faster(&samples).unwrap().holds
        };
        assert!(of(4.0) && !of(4.1));
    }
}
