//! One pass: everything is paged out, tasks read it back, all is compared.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::compute::{Compute, calibrate};
use crate::region::Region;
use crate::{Options, host};
use apf_vocabulary::Mode;
use apf_vocabulary::message::Pass;

/// Stacks of the tasks, the least that the kernel gives: they come from the
/// tenth of memory that it does not give to its heap.
const STACK: usize = 32 * 1024;
/// Alternations between fast and slow phases of the host average out in this.
const CALIBRATION: Duration = Duration::from_millis(500);

/// The pages that each task reads: `pages` different ones out of the whole
/// region, in random order, dealt out evenly.
pub fn shares(region_pages: usize, pages: usize, tasks: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut all: Vec<usize> = (0..region_pages).collect();
    all.shuffle(&mut SmallRng::seed_from_u64(seed));
    (0..tasks).map(|task| all[..pages].iter().copied().skip(task).step_by(tasks).collect()).collect()
}

/// Runs one pass with the service as it is.
pub fn run(mode: Mode, region: &Arc<Region>, options: &Options) -> Pass {
    let slice = Duration::from_micros(options.slice_us);
    let undisturbed = calibrate(slice, CALIBRATION);
    let tasks = usize::from(options.tasks);
    let seed = SmallRng::seed_from_u64(options.seed ^ mode as u64).random();

    // All tasks exist before memory goes: making one touches many pages in a row.
    let start = Arc::new(Barrier::new(tasks + 2));
    let wrong = Arc::new(AtomicUsize::new(0));
    let readers: Vec<JoinHandle<()>> = shares(region.pages(), options.pages, tasks, seed)
        .into_iter()
        .map(|share| {
            let (region, start, wrong) = (region.clone(), start.clone(), wrong.clone());
            let fingerprint_seed = options.seed;
            spawn(move || {
                start.wait();
                for page in share {
                    if !region.is_right(fingerprint_seed, page) {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::yield_now();
                }
            })
        })
        .collect();
    let compute = Arc::new(Compute::default());
    let computing = {
        let (compute, start) = (compute.clone(), start.clone());
        spawn(move || {
            start.wait();
            compute.run(slice);
        })
    };

    host::evict();
    // Before the tasks may run: this task's own code is paged out as well.
    let began = Instant::now();
    start.wait();
    for reader in readers {
        reader.join().expect("reader");
    }
    let elapsed = began.elapsed().as_secs_f64();
    let rounds = compute.rounds();
    compute.stop();
    computing.join().expect("computing task");

    host::restore();
    let wrong_verified = (0..region.pages()).filter(|&page| !region.is_right(options.seed, page)).count();
    Pass {
        mode,
        seconds: elapsed,
        pages: options.pages,
        wrong_pages: wrong.load(Ordering::Relaxed),
        verified_pages: region.pages(),
        wrong_verified_pages: wrong_verified,
        compute_kept: rounds as f64 / elapsed / undisturbed,
        counters: host::counters(),
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new()
        .stack_size(STACK)
        .spawn(body)
        .expect("a task: give the guest more memory, or use fewer tasks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_complete_and_random() {
        let shares = shares(100, 50, 7, 42);
        let mut all: Vec<_> = shares.concat();
        assert_ne!(all, (0..50).collect::<Vec<_>>());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 50);
        assert!(shares.iter().all(|share| (7..=8).contains(&share.len())));
    }
}
