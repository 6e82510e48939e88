//! `compute`: the work that a computing task keeps while others fault.
//!
//! Parameters: `faulting_tasks`, `page_latency_ms`. Each faulting task reads one
//! page after the other and yields in between; the computing task yields every
//! millisecond, since this kernel has no time slices.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use crate::compute::{Compute, SLICE, calibrate};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let tasks = point["faulting_tasks"] as usize;
    let before = calibrate(bench.sample / 4);
    let pages = bench.pages(usize::MAX);
    let start = Arc::new(Barrier::new(tasks + 2));
    let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = bench.tasks(tasks, &start, {
        let (pages, stop, read) = (pages.clone(), stop.clone(), read.clone());
        move |_| {
            while !stop.load(Ordering::Relaxed) && pages.read_next() {
                read.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        }
    });
    let compute = Arc::new(Compute::default());
    let computing = bench.tasks(1, &start, {
        let compute = compute.clone();
        move |_| compute.run(SLICE)
    });
    bench.evict(point);
    start.wait();
    // Counting starts when the tasks are at work.
    thread::sleep(bench.sample / 10);
    let (began, rounds, pages_read) = (Instant::now(), compute.rounds(), read.load(Ordering::Relaxed));
    thread::sleep(bench.sample);
    let seconds = began.elapsed().as_secs_f64();
    let rounds = compute.rounds() - rounds;
    let pages_read = read.load(Ordering::Relaxed) - pages_read;
    stop.store(true, Ordering::Relaxed);
    compute.stop();
    for task in readers.into_iter().chain(computing) {
        task.join().expect("task");
    }
    // The machine may be slower or faster for a while: both sides of the sample.
    let undisturbed = f64::midpoint(before, calibrate(bench.sample / 4));
    let kept = rounds as f64 / seconds / undisturbed;
    pages
        .measured()
        .metric("core_ms_per_page", (1.0 - kept) * seconds * 1000.0 / pages_read.max(1) as f64)
        .metric("compute_kept", kept)
        .metric("pages_per_second", pages_read as f64 / seconds)
}
