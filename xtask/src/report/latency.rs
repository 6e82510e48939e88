//! Percentiles of the guest's histograms, by HDR histograms.

use hdrhistogram::Histogram;
use serde::Serialize;
use unikernel::wire::StageHistogram;

/// One stage of one kind of wait.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// "schedule" or "halt".
    pub wait: String,
    /// What lies between which two points of a fault's life.
    pub stage: String,
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// The raw histogram: smallest value of each bucket, in cycles, and count.
    pub buckets_cycles: Vec<(u64, u32)>,
}

/// Turns buckets of cycles into percentiles.
pub fn all(histograms: &[StageHistogram], tsc_mhz: u32) -> Vec<Latency> {
    histograms
        .iter()
        .filter(|histogram| !histogram.buckets.is_empty())
        .map(|histogram| of(histogram, tsc_mhz))
        .collect()
}

fn of(raw: &StageHistogram, tsc_mhz: u32) -> Latency {
    // The guest tells values up to 2^44 cycles apart, in wider steps than three digits.
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 1 << 45, 3).expect("constant bounds");
    for &(cycles, count) in &raw.buckets {
        histogram.saturating_record_n(cycles, count.into());
    }
    let us = |cycles: u64| cycles as f64 / f64::from(tsc_mhz.max(1));
    let at = |percentile: f64| us(histogram.value_at_percentile(percentile));
    Latency {
        wait: raw.wait.clone(),
        stage: raw.stage.clone(),
        count: histogram.len(),
        p50_us: at(50.0),
        p90_us: at(90.0),
        p99_us: at(99.0),
        p999_us: at(99.9),
        max_us: us(histogram.max()),
        buckets_cycles: raw.buckets.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let buckets = vec![(2_000, 99), (200_000, 1)];
        let all = all(&[StageHistogram { wait: "halt".into(), stage: "host".into(), buckets }], 2_000);
        assert_eq!(all[0].count, 100);
        assert!((all[0].p50_us - 1.0).abs() < 0.01 && (all[0].max_us - 100.0).abs() < 0.2, "{all:?}");
    }
}
