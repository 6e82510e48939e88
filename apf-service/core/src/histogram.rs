//! A log-linear histogram in fixed memory that interrupt context may record to.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

const LINEAR_BITS: u32 = 5;
const LINEAR: usize = 1 << LINEAR_BITS;
/// Values up to 2^44 cycles (an hour and more) are distinguished; larger ones
/// fall into the last bucket.
const LARGEST_BIT: u32 = 43;
/// Number of buckets.
pub const BUCKETS: usize = LINEAR * (LARGEST_BIT - LINEAR_BITS + 2) as usize;

/// Counts of values in buckets no wider than 1/32 of the value: HDR
/// histogram's layout with two significant binary digits less, so host tools
/// import it bucket by bucket ([`lower_bound`]).
#[derive(Debug)]
#[repr(C)]
pub struct Histogram {
    counts: [AtomicU32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU32::new(0) }; BUCKETS] }
    }
}

/// Returns the bucket of `value`. Values of one length in bits share 32 buckets, by the five bits after
/// the topmost; those below 32 have one each.
#[inline]
#[must_use]
pub fn bucket(value: u64) -> usize {
    let shift = (value | LINEAR as u64).ilog2() - LINEAR_BITS;
    (LINEAR * shift as usize + (value >> shift) as usize).min(BUCKETS - 1)
}

/// The smallest value of a bucket.
#[must_use]
pub const fn lower_bound(bucket: usize) -> u64 {
    if bucket < LINEAR {
        return bucket as u64;
    }
    let shift = bucket / LINEAR - 1;
    ((LINEAR + bucket % LINEAR) as u64) << shift
}

impl Histogram {
    /// Counts `value`.
    #[inline]
    pub fn record(&self, value: u64) {
        self.counts[bucket(value)].fetch_add(1, Relaxed);
    }

    /// The buckets that counted anything: smallest value of the bucket, and count.
    pub fn nonempty(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .map(|(i, count)| (lower_bound(i), count.load(Relaxed)))
            .filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_no_wider_than_a_32nd() {
        for b in 1..BUCKETS {
            let (low, before) = (lower_bound(b), lower_bound(b - 1));
            assert!(low > before);
            assert_eq!(bucket(low), b);
            assert_eq!(bucket(low - 1), b - 1);
            assert!((low - before) * 32 <= low.max(32));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn counts_come_back() {
        let h = Histogram::default();
        [3, 3, 1000].iter().for_each(|&v| h.record(v));
        let all: alloc::vec::Vec<_> = h.nonempty().collect();
        assert_eq!(all, [(3, 2), (lower_bound(bucket(1000)), 1)]);
    }
}
