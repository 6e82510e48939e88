//! `overlap`: the time to read evicted pages with few and many tasks.
//!
//! Parameters: `tasks`, `page_latency_ms`. The slower a page, the fewer are
//! read, so that samples take about the same time. The metric is the time for
//! each page.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured, Pages};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let tasks = point["tasks"] as usize;
    let pages = bench.pages(bench.pages_for(tasks, point["page_latency_ms"]));
    read(bench, tasks, &pages, || bench.evict(point))
}

/// Has `tasks` tasks read these pages. `evict` evicts them once the tasks exist.
pub fn read(bench: &Bench, tasks: usize, pages: &Arc<Pages>, evict: impl FnOnce()) -> Measured {
    let start = Arc::new(Barrier::new(tasks + 1));
    let readers = bench.tasks(tasks, &start, {
        let pages = pages.clone();
        move |_| pages.read_all(|| ())
    });
    evict();
    let began = Instant::now();
    start.wait();
    for reader in readers {
        reader.join().expect("reader");
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    pages.measured().metric("ms_per_page", ms / pages.len() as f64).metric("pages", pages.len() as f64)
}
