//! `overlap`: the time to read evicted pages with few and many tasks.
//!
//! Parameters: `tasks`, `page_latency_ms`. The slower a page, the fewer are
//! read, so that samples take about the same time; what is told is the time for
//! each page.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use unikernel::grid::Point;

use super::bench::{Bench, Measured, Pages};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let tasks = point["tasks"] as usize;
    let pages = bench.pages(bench.pages_for(tasks, point["page_latency_ms"]));
    read(bench, point, &pages, |pages| pages.read_all(|| ()))
}

/// The same with these pages; each task takes of them as `body` does.
pub fn read(
    bench: &Bench,
    point: &Point,
    pages: &Arc<Pages>,
    body: impl Fn(&Pages) + Clone + Send + 'static,
) -> Measured {
    let tasks = point["tasks"] as usize;
    let start = Arc::new(Barrier::new(tasks + 1));
    let readers = bench.tasks(tasks, &start, {
        let pages = pages.clone();
        move |_| body(&pages)
    });
    bench.evict(point);
    let began = Instant::now();
    start.wait();
    for reader in readers {
        reader.join().expect("reader");
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    pages.measured().metric("ms_per_page", ms / pages.len() as f64).metric("pages", pages.len() as f64)
}
