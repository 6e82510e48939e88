//! `peer`: figures of guests of any system: the time to read evicted pages, and that of each
//! touch; the work that a computing task keeps meanwhile; the latencies of served requests.
//!
//! Parameters: `tasks`, `pages`, `page_latency_ms`. `capacity` measures only the most requests
//! a second that a guest serves; from it the load of all guests follows.

use std::time::Duration;

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured, READ};
use super::{compute, overlap, tail};

/// Requests that wait from the start, to measure the throughput.
const CROWD: usize = 2048;

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let mut faulting = point.clone();
    faulting.insert("faulting_tasks".into(), point["tasks"]);
    let parts = [
        Some(reads(bench, point)),
        Some(compute::measure(bench, &faulting)),
        Some(capacity(bench, point)),
        bench.load.map(|load| requests(bench, point, load)),
    ];
    let mut measured = parts.into_iter().flatten().fold(Measured::default(), Measured::and);
    // Each part has one of these; the document needs only that of the first, `touch`.
    measured.histograms.retain(|histogram| histogram.name != READ);
    measured
}

/// Measures the requests served in a second when all wait from the start.
pub fn capacity(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(usize::MAX);
    let plan = tail::crowd(bench, &pages, CROWD);
    let served = tail::serve(bench, point, &pages, &plan, point["tasks"] as usize);
    pages.measured().metric("capacity_per_second", served.per_second())
}

/// Reads pages; each touch is timed by the task that waits for it.
fn reads(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(point["pages"] as usize);
    let mut measured = overlap::read(bench, point["tasks"] as usize, &pages, || bench.evict(point));
    let mut ms = [0.0; 2];
    for touches in measured.histograms.iter_mut().filter(|histogram| histogram.name == READ) {
        touches.name = "touch".into();
        ms = [0.5, 0.99].map(|share| tail::percentile(&touches.buckets, share) as f64 / touches.per_us / 1e3);
    }
    measured.metric("touch_p50_ms", ms[0]).metric("touch_p99_ms", ms[1])
}

/// Serves requests that arrive at a fixed load.
fn requests(bench: &Bench, point: &Point, load: f64) -> Measured {
    let pages = bench.pages(usize::MAX);
    let plan = tail::plan(bench, load, &pages);
    let planned = plan.iter().map(|planned| planned.at).max().unwrap_or(Duration::ZERO);
    let served = tail::serve(bench, point, &pages, &plan, point["tasks"] as usize);
    let late = (served.seconds - planned.as_secs_f64()).max(0.0);
    served.measured(&pages).metric("requests_per_second", load).metric("late_seconds", late)
}
