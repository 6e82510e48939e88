//! A task that only computes, to see what the core has left for it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two yields: this kernel has no time slices.
pub const SLICE: Duration = Duration::from_millis(1);
/// Rounds between two looks at the clock: some microseconds.
const ROUNDS: u64 = 2_000;

/// Computes in slices, yields between them, and counts the rounds.
#[derive(Debug, Default)]
pub struct Compute {
    stop: AtomicBool,
    rounds: AtomicU64,
}

impl Compute {
    /// Computes until told to [`stop`](Self::stop). Hermit has no time slices,
    /// so the task gives the core away by itself every `slice`.
    ///
    /// Not inlined: what is held against each other must be the same code, and an
    /// emulator runs two copies of a loop at different speeds.
    #[inline(never)]
    pub fn run(&self, slice: Duration) {
        let mut x = 1_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            while began.elapsed() < slice && !self.stop.load(Ordering::Relaxed) {
                for _ in 0..ROUNDS {
                    x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
                self.rounds.fetch_add(ROUNDS, Ordering::Relaxed);
            }
            thread::yield_now();
        }
    }

    /// Ends [`run`](Self::run) within some microseconds of its running.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Rounds so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

/// Rounds a second that a computing task makes with the core to itself.
pub fn calibrate(time: Duration) -> f64 {
    let compute = Compute::default();
    thread::scope(|scope| {
        scope.spawn(|| compute.run(SLICE));
        let began = Instant::now();
        thread::sleep(time);
        let rounds = compute.rounds();
        let seconds = began.elapsed().as_secs_f64();
        compute.stop();
        rounds as f64 / seconds
    })
}
