//! `cost`: so many pages, one after the other.
//!
//! Parameters: `pages`, `page_latency_ms`. The host counts instructions; two runs
//! that differ in their number of pages tell what a fault costs. While the reader
//! waits, another task has the core: idling would be counted too, and is not what
//! a fault costs.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use super::overlap;

/// How often the other task looks whether it is to end, before it lets others have
/// a turn: so often that its yielding counts for nothing.
const LOOKS: u32 = 1_000_000;

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(point["pages"] as usize);
    let start = Arc::new(Barrier::new(2));
    let is_over = Arc::new(AtomicBool::new(false));
    let other = bench.tasks(1, &start, {
        let is_over = is_over.clone();
        move |_| keep_busy(&is_over)
    });
    let measured = overlap::read(bench, 1, &pages, || {
        bench.evict(point);
        start.wait();
    });
    is_over.store(true, Ordering::Relaxed);
    for task in other {
        task.join().expect("task");
    }
    measured
}

fn keep_busy(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..LOOKS {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}
