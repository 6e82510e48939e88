//! `cost`: so many pages, one after the other, and nothing else.
//!
//! Parameter: `pages`. The host counts instructions; two runs that differ in
//! their number of pages tell what a fault costs.

use std::sync::{Arc, Barrier};

use unikernel::grid::Point;

use super::bench::{Bench, Measured};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(point["pages"] as usize);
    let start = Arc::new(Barrier::new(2));
    let reader = bench.tasks(1, &start, {
        let pages = pages.clone();
        move |_| pages.read_all(|| ())
    });
    bench.evict(point);
    start.wait();
    for task in reader {
        task.join().expect("reader");
    }
    pages.measured().metric("pages", pages.len() as f64)
}
