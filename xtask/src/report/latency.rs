//! Percentiles of the guest's histograms, by those of documents.

use apf_report::distribution::Distribution;
use apf_vocabulary::Histogram;
use serde::Serialize;

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
    pub buckets_cycles: Vec<(u64, u64)>,
}

/// The percentiles of each histogram that has counted anything.
pub fn all(histograms: &[Histogram]) -> Vec<Latency> {
    histograms.iter().filter_map(of).collect()
}

fn of(histogram: &Histogram) -> Option<Latency> {
    let values = Distribution::of([histogram])?;
    let (wait, stage) = histogram.name.split_once(' ')?;
    Some(Latency {
        wait: wait.into(),
        stage: stage.into(),
        count: values.count(),
        p50_us: values.at(0.5),
        p90_us: values.at(0.9),
        p99_us: values.at(0.99),
        p999_us: values.at(0.999),
        max_us: values.max(),
        buckets_cycles: histogram.buckets.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let buckets = vec![(2_000, 99), (200_000, 1)];
        let all = all(&[Histogram { name: "halt host".into(), per_us: 2_000.0, buckets }]);
        assert_eq!(all[0].count, 100);
        assert!((all[0].p50_us - 1.0).abs() < 0.01 && (all[0].max_us - 100.0).abs() < 0.2, "{all:?}");
    }
}
