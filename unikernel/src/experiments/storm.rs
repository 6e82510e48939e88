//! `storm`: many more tasks than the host allows outstanding faults, and code and stacks
//! evicted as well.
//!
//! Parameters: `tasks`, `page_latency_ms`.

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use crate::host;

/// Factor on the time of a sample: code and stacks come back slowly.
const LONGER: u32 = 6;

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(usize::MAX);
    let read = {
        let pages = pages.clone();
        move || pages.read_next()
    };
    let time = bench.sample * LONGER;
    let (seconds, reads) = bench.read_for(point["tasks"] as usize, time, read, || bench.evict_all(point));
    // Pages that are still evicted would slow the next sample.
    host::restore();
    let count: u64 = reads.iter().sum();
    pages.measured().metric("pages_per_second", count as f64 / seconds).metric("fairness", fairness(&reads))
}

/// Returns Jain's index: 1 if all tasks read the same number of pages, 1/n if one task
/// read them all.
fn fairness(reads: &[u64]) -> f64 {
    let sum = reads.iter().sum::<u64>() as f64;
    let squares: f64 = reads.iter().map(|&count| (count as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / (reads.len() as f64 * squares) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_1_for_equal_shares_and_1_nth_for_one_reader() {
        assert_eq!((fairness(&[5, 5, 5, 5]), fairness(&[9, 0, 0, 0])), (1.0, 0.25));
        assert_eq!(fairness(&[0, 0]), 0.0);
    }
}
