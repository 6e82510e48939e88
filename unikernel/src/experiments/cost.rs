//! `cost`: a number of pages, read by one task, in random order.
//!
//! Parameters: `pages`, `page_latency_ms`. The host counts instructions; the difference
//! between two runs with different numbers of pages is the cost of the faults. While the
//! reader waits, another task has the core, because idling would be counted too.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use super::overlap;

/// Checks of the stop flag between two yields of the other task: so many that yielding
/// is negligible.
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
