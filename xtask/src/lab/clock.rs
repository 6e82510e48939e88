//! The lab's clock.
//!
//! Under TCG a time-stamp counter reads the host's. The lab's kernel would find
//! out its frequency by comparing it with an emulated timer, and on a busy host,
//! where the emulation stands still now and then, be wrong by as much as a factor
//! of ten: all latencies of that boot with it. So the frequency is measured here.

use std::arch::x86_64::_rdtsc;
use std::thread;
use std::time::{Duration, Instant};

/// Long against what lies between the two readings.
const TIME: Duration = Duration::from_millis(100);
/// A reading during which the program lost the processor is not one.
const TRIES: usize = 20;

/// Frequency of this machine's time-stamp counter, in kHz.
pub fn tsc_khz() -> u64 {
    let (begin, counter) = reading();
    thread::sleep(TIME);
    let (end, later) = reading();
    let micros = end.duration_since(begin).as_micros();
    u64::try_from(u128::from(later - counter) * 1000 / micros.max(1)).unwrap_or(u64::MAX)
}

/// Clock and counter at the same moment: the closest pair of some.
fn reading() -> (Instant, u64) {
    let one = || {
        let before = Instant::now();
        // SAFETY: every x86-64 processor has a time-stamp counter, and Linux
        // lets programs read it.
        let counter = unsafe { _rdtsc() };
        (before.elapsed(), (before, counter))
    };
    (0..TRIES).map(|_| one()).min_by_key(|(took, _)| *took).expect("at least one").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_the_same_twice() {
        let (one, other) = (tsc_khz() as f64, tsc_khz() as f64);
        assert!(one > 100_000.0, "{one} kHz");
        assert!((one / other - 1.0).abs() < 0.001, "{one} and {other} kHz");
    }
}
