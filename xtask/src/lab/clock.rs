//! Frequency of the lab's time-stamp counter.
//!
//! Under TCG the counter is the host's. The lab's kernel would measure its frequency against
//! an emulated timer; on a busy host the emulation pauses now and then, and the result, and
//! with it every latency of that boot, can be wrong by a factor of ten. So the frequency is
//! measured here, and passed to the kernel.

use std::arch::x86_64::_rdtsc;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two readings, long compared with the error of each.
const TIME: Duration = Duration::from_millis(100);
/// Tries per reading: one during which the program lost the processor is not used.
const TRIES: usize = 20;

/// Measures the frequency of this machine's time-stamp counter, in kHz.
pub fn tsc_khz() -> u64 {
    let (start, counter) = reading();
    thread::sleep(TIME);
    let (end, later) = reading();
    let micros = end.duration_since(start).as_micros();
    u64::try_from(u128::from(later - counter) * 1000 / micros.max(1)).unwrap_or(u64::MAX)
}

/// Reads clock and counter, and returns the pair with the least time in between.
fn reading() -> (Instant, u64) {
    let one = || {
        let before = Instant::now();
        // SAFETY: every x86-64 processor has a time-stamp counter, and Linux lets programs
        // read it.
        let counter = unsafe { _rdtsc() };
        (before.elapsed(), (before, counter))
    };
    (0..TRIES).map(|_| one()).min_by_key(|(took, _)| *took).expect("at least one").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_of_the_frequency_agree() {
        let (one, other) = (tsc_khz() as f64, tsc_khz() as f64);
        assert!(one > 100_000.0, "{one} kHz");
        assert!((one / other - 1.0).abs() < 0.001, "{one} and {other} kHz");
    }
}
