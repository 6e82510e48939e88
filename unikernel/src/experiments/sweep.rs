//! `sweep`: the cost of a page, at any latency, alone and beside a computing task.
//!
//! Parameters: `page_latency_ms`, `computing`. One task reads one page after the
//! other. Alone (`computing=0`) the cost is the time until the page is present; beside
//! a computing task (`computing=1`), the core time taken from that task.

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use super::{compute, overlap};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let with = |name: &str| {
        let mut point = point.clone();
        point.insert(name.into(), 1.0);
        point
    };
    let (measured, cost) = if point["computing"] > 0.0 {
        (compute::measure(bench, &with("faulting_tasks")), "core_ms_per_page")
    } else {
        (overlap::measure(bench, &with("tasks")), "ms_per_page")
    };
    let cost_ms = measured.metrics[cost];
    measured.metric("cost_ms", cost_ms)
}
