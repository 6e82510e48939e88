//! `run`: a first look: tasks read pages while another one computes, all of the guest's
//! memory evicted.
//!
//! Parameters: `tasks`, `pages`, `page_latency_ms`.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use crate::compute::{Compute, SLICE, calibrate};
use crate::host;

/// Alternations between fast and slow phases of the host average out in this.
const CALIBRATION: Duration = Duration::from_millis(500);

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let tasks = point["tasks"] as usize;
    let undisturbed = calibrate(CALIBRATION);
    let pages = bench.pages(point["pages"] as usize);
    let start = Arc::new(Barrier::new(tasks + 2));
    let readers = bench.tasks(tasks, &start, {
        let pages = pages.clone();
        move |_| pages.read_all(thread::yield_now)
    });
    let compute = Arc::new(Compute::default());
    let computing = bench.tasks(1, &start, {
        let compute = compute.clone();
        move |_| compute.run(SLICE)
    });
    bench.evict_all(point);
    // Before the tasks may run: this task's own code is evicted as well.
    let began = Instant::now();
    start.wait();
    for reader in readers {
        reader.join().expect("reader");
    }
    let seconds = began.elapsed().as_secs_f64();
    let rounds = compute.rounds();
    compute.stop();
    for task in computing {
        task.join().expect("computing task");
    }
    // Pages that are still evicted would slow the next sample.
    host::restore();
    pages.measured().metric("seconds", seconds).metric("compute_kept", rounds as f64 / seconds / undisturbed)
}
