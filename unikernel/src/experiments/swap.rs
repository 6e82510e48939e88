//! `swap`: the host's own swap in place of the pager, all memory pushed out.
//!
//! Parameters: `tasks`, `page_cluster`. The host sets the latter: it reads
//! 2^`page_cluster` pages of swap at once.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use unikernel::grid::Point;

use super::bench::{Bench, Measured};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let tasks = point["tasks"] as usize;
    let pages = bench.pages(usize::MAX);
    let start = Arc::new(Barrier::new(tasks + 1));
    let readers = bench.tasks(tasks, &start, {
        let pages = pages.clone();
        move |_| pages.read_all(|| ())
    });
    bench.evict_all(point);
    let began = Instant::now();
    start.wait();
    for reader in readers {
        reader.join().expect("reader");
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    pages.measured().metric("ms_per_page", ms / pages.len() as f64).metric("pages", pages.len() as f64)
}
