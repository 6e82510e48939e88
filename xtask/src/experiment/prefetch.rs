//! `prefetch`: what does it gain to say beforehand what will be read?

use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST, MS_PER_PAGE, PAGES, PagedBy};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "prefetch",
    question: "What does a task that reads one page after the other gain by announcing them beforehand?",
    variable: ("helpers", "tasks that touch what is announced"),
    panel: None,
    baseline: Mode::Blocked,
    falsified_by: "a time for each page that does not fall with the number of helpers",
    metrics: &[MS_PER_PAGE, PAGES, ("pages_announced", "pages announced", Better::Neither), FAULT_COST],
    modes: &[Mode::Blocked, Mode::Async],
    profiled: false,
    axes,
    region_mib: 16,
    memory_mib: 256,
    paged_by: PagedBy::Pager,
    references: |_, _| vec![],
    claims,
};

fn axes(effort: Effort) -> Vec<Axis> {
    let helpers: &[f64] = match effort {
        Effort::Quick => &[0.0, 4.0, 32.0],
        Effort::Full => &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    };
    vec![Axis::new("page_latency_ms", &[10.0]), Axis::new("helpers", helpers)]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let time =
        |helpers| Some(metric(at(samples, Mode::Async, &[("helpers", helpers)]), "ms_per_page")?.median());
    let Some(plain) = time(0.0) else { return vec![] };
    let gains: Vec<(f64, f64)> = values_of(samples, "helpers")
        .into_iter()
        .filter(|helpers| *helpers >= 4.0)
        .filter_map(|helpers| Some((helpers, plain / time(helpers)?)))
        .collect();
    let each = gains.iter().map(|(helpers, gain)| format!("{helpers} helpers: {gain:.1} times"));
    if gains.is_empty() {
        return vec![];
    }
    vec![Claim {
        text: "four helpers and more make a task that reads one page after the other at least 3 times faster"
            .into(),
        measured: each.collect::<Vec<_>>().join(", "),
        holds: gains.iter().all(|(_, gain)| *gain >= 3.0),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn the_gain_is_against_plain_faulting() {
        let of = |ms| {
            let samples = [(0.0, 12.0), (4.0, ms)]
                .map(|(helpers, ms)| sample(Mode::Async, &[("helpers", helpers)], &[("ms_per_page", ms)]));
            claims(&samples, 1)[0].holds
        };
        assert!(of(4.0) && !of(4.1));
    }
}
