//! Distributions from raw histograms, by HDR histograms.
//!
//! A raw bucket counts for its smallest value. The guest's buckets are no wider than 1/32 of it,
//! so no percentile is more than 3.2 % too low, and none is too high.

use std::collections::BTreeMap;

use hdrhistogram::Histogram as Hdr;

use crate::document::{Histogram, Mode};
use crate::points::{Point, Value};
use crate::{Report, number};

/// The guest's buckets reach 2^44 cycles.
const LARGEST: u64 = 1 << 45;

/// Digits that are kept: finer than the guest's buckets.
const DIGITS: u8 = 3;

/// A set of durations.
#[derive(Clone, Debug)]
pub struct Distribution {
    values: Hdr<u64>,
    /// The values' units in a microsecond.
    per_us: f64,
}

impl Distribution {
    /// Histograms as one; `None` if nothing was counted.
    pub fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Option<Self> {
        let mut per_us = None;
        let mut values = Hdr::<u64>::new_with_bounds(1, LARGEST, DIGITS).expect("constant bounds");
        for histogram in histograms {
            let unit = *per_us.get_or_insert(histogram.per_us);
            for &(value, count) in &histogram.buckets {
                // One unit as a rule; boots may find the frequency a little different.
                let value = (value as f64 * (unit / histogram.per_us)).round() as u64;
                values.saturating_record_n(value, count);
            }
        }
        (!values.is_empty()).then(|| Self { values, per_us: per_us.unwrap_or(1.0) })
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.values.len()
    }

    /// The duration below which this share of all lie, in µs; 0.5 is the median.
    pub fn at(&self, share: f64) -> f64 {
        self.us(self.values.value_at_quantile(share))
    }

    /// The mean, in µs.
    pub fn mean(&self) -> f64 {
        self.values.mean() / self.per_us
    }

    /// The longest, in µs.
    pub fn max(&self) -> f64 {
        self.us(self.values.max())
    }

    /// For each value that occurs: the share of durations up to it, and the value in µs.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let total = self.values.len() as f64;
        let recorded = self.values.iter_recorded();
        recorded.scan(0, move |below, step| {
            *below += step.count_since_last_iteration();
            Some((*below as f64 / total, self.us(self.values.lowest_equivalent(step.value_iterated_to()))))
        })
    }

    /// Names and values of the percentiles that the durations give, and the longest.
    pub fn percentiles(&self) -> Vec<(&'static str, String)> {
        let percentiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
        let known = percentiles.into_iter().filter(|(_, share)| self.knows(*share));
        known
            .map(|(name, share)| (name, number::duration(self.at(share))))
            .chain([("max", number::duration(self.max()))])
            .collect()
    }

    /// Returns whether at least one value lies beyond this share: a hundred values do not give the one in a
    /// thousand.
    pub fn knows(&self, share: f64) -> bool {
        self.count() as f64 * (1.0 - share) >= 1.0 - 1e-9
    }

    /// The histogram itself, and its units in a microsecond.
    pub fn raw(&self) -> (&Hdr<u64>, f64) {
        (&self.values, self.per_us)
    }

    fn us(&self, value: u64) -> f64 {
        self.values.lowest_equivalent(value) as f64 / self.per_us
    }
}

/// Distributions by name.
pub type Distributions = BTreeMap<String, Distribution>;

impl Report {
    /// The distributions at a point in a mode, all repetitions as one, by name.
    pub fn distributions(&self, point: Point, mode: Mode) -> Distributions {
        let mut by_name: BTreeMap<&str, Vec<&Histogram>> = BTreeMap::new();
        for histogram in self.samples_at(point, mode).flat_map(|sample| &sample.histograms) {
            by_name.entry(&histogram.name).or_default().push(histogram);
        }
        let of_name =
            |(name, histograms): (&str, Vec<_>)| Some((name.to_owned(), Distribution::of(histograms)?));
        by_name.into_iter().filter_map(of_name).collect()
    }

    /// The first and the last point of each panel, and the one between where there is room, among
    /// those with histograms in most modes.
    pub fn telling_points(&self) -> Vec<Point> {
        let panels = self.panels();
        let modes_with = |point: &Point| {
            let modes = self.modes().iter();
            modes
                .filter(|&&mode| self.samples_at(*point, mode).any(|sample| !sample.histograms.is_empty()))
                .count()
        };
        let of_panel = |panel: &Option<Value>| -> Vec<Point> {
            let here: Vec<Point> = self.points_of(*panel).collect();
            let most = here.iter().map(modes_with).max().unwrap_or(0);
            let telling: Vec<Point> =
                here.into_iter().filter(|point| most > 0 && modes_with(point) == most).collect();
            let last = telling.len().saturating_sub(1);
            let mut chosen = if panels.len() == 1 { vec![0, last / 2, last] } else { vec![0, last] };
            chosen.dedup();
            chosen.into_iter().filter_map(|i| telling.get(i).copied()).collect()
        };
        panels.iter().flat_map(of_panel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(per_us: f64, buckets: &[(u64, u64)]) -> Histogram {
        Histogram { name: "host".into(), per_us, buckets: buckets.to_vec() }
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let d = Distribution::of(&[histogram(2000.0, &[(2_000, 99), (200_000, 1)])]).unwrap();
        assert_eq!((d.count(), d.at(0.5), d.max()), (100, 1.0, 99.968));
        assert!((d.mean() - 1.99).abs() < 0.01, "{}", d.mean());
    }

    #[test]
    fn repetitions_add_up_even_where_the_clock_differs() {
        let d =
            Distribution::of(&[histogram(2000.0, &[(4_000, 1)]), histogram(1000.0, &[(2_000, 3)])]).unwrap();
        assert_eq!((d.count(), d.at(0.5), d.max()), (4, 2.0, 2.0));
    }

    #[test]
    fn the_cumulative_shares_end_at_one() {
        let d = Distribution::of(&[histogram(1.0, &[(10, 1), (20, 2), (30, 1)])]).unwrap();
        let all: Vec<_> = d.cumulative().collect();
        assert_eq!(all, [(0.25, 10.0), (0.75, 20.0), (1.0, 30.0)]);
    }

    #[test]
    fn a_percentile_needs_values_beyond_it() {
        let d = Distribution::of(&[histogram(1.0, &[(10, 99), (20, 1)])]).unwrap();
        let names: Vec<&str> = d.percentiles().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["p50", "p90", "p99", "max"]);
    }

    #[test]
    fn nothing_counted_is_no_distribution() {
        assert!(Distribution::of(&[histogram(1.0, &[])]).is_none());
    }
}
