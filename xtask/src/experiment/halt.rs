//! `halt`: what do non-preemptible sections cost?

use apf_report::document::{Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, FAULT_COST, MS_PER_PAGE, PAGES, PagedBy};
use super::statistics::{at, metric};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "halt",
    question: "What do non-preemptible sections cost, from no fault inside them to all?",
    variable: ("guarded_percent", "faults inside guards in %"),
    panel: None,
    baseline: Mode::Blocked,
    falsified_by: "guarded faults that cost more than a core that is blocked by each fault",
    metrics: &[MS_PER_PAGE, PAGES, FAULT_COST],
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
    let percents: &[f64] = match effort {
        Effort::Quick => &[0.0, 10.0, 50.0, 100.0],
        Effort::Full => &[0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0],
    };
    vec![
        Axis::new("page_latency_ms", &[10.0]),
        Axis::new("tasks", &[16.0]),
        Axis::new("guarded_percent", percents),
    ]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let time = |mode, percent| {
        let values = metric(at(samples, mode, &[("guarded_percent", percent)]), "ms_per_page")?;
        Some(values.median())
    };
    let (Some(guarded), Some(blocked)) = (time(Mode::Async, 100.0), time(Mode::Blocked, 100.0)) else {
        return vec![];
    };
    vec![Claim {
        text: "with every fault inside a guard a page takes at most 10 % longer than blocked".into(),
        measured: format!("{guarded:.2} ms, blocked {blocked:.2} ms"),
        holds: guarded <= 1.1 * blocked,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn guarded_is_held_against_blocked() {
        let of = |guarded| {
            let point = [("guarded_percent", 100.0)];
            let samples = [
                sample(Mode::Async, &point, &[("ms_per_page", guarded)]),
                sample(Mode::Blocked, &point, &[("ms_per_page", 12.0)]),
            ];
            claims(&samples, 1)[0].holds
        };
        assert!(of(13.0) && !of(13.5));
    }
}
