//! `halt`: the price of `NonPreemptible` sections.
//!
//! Parameters: `guarded_percent`, `tasks`, `page_latency_ms`.
//! `guarded_percent` of the pages are read inside a guard.

use std::sync::atomic::{AtomicU64, Ordering};

use apf_service::NonPreemptible;
use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(usize::MAX);
    let guarded_percent = point["guarded_percent"] as u64;
    let turn = std::sync::Arc::new(AtomicU64::new(0));
    let read = {
        let pages = pages.clone();
        move || {
            // Evenly spread: 61 and 100 have no common divisor.
            let guarded = turn.fetch_add(61, Ordering::Relaxed) % 100 < guarded_percent;
            let Some(page) = pages.take() else { return false };
            let guard = guarded.then(NonPreemptible::enter);
            pages.read(page);
            drop(guard);
            true
        }
    };
    let (seconds, reads) = bench.read_for(point["tasks"] as usize, bench.sample, read, || bench.evict(point));
    let count = reads.iter().sum::<u64>().max(1);
    pages.measured().metric("ms_per_page", seconds * 1000.0 / count as f64).metric("pages", count as f64)
}
