//! Medians of few repetitions, their spread, and confidence intervals.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use statrs::statistics::{Data, Max, Min, OrderStatistics};

/// Confidence of intervals.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples behind an interval.
const RESAMPLES: usize = 10_000;

/// Fixed, so that the same document always gives the same interval.
const SEED: u64 = 0x6170_6621;

/// Median and spread of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The number of values.
    pub n: usize,
    /// Half of them are smaller.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Summarizes at least one value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let data = Data::new(values.to_vec());
        (!values.is_empty()).then(|| Self {
            n: values.len(),
            median: median(values),
            min: data.min(),
            max: data.max(),
        })
    }
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    Data::new(values.to_vec()).median()
}

/// An interval that holds the true value with [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Interval by which the median of `b` exceeds that of `a`, by percentile bootstrap: both are drawn
/// again with replacement, many times over, and the middle [`CONFIDENCE`] of the differences is
/// the interval.
///
/// `None` with fewer than three values on either side: one value has no spread, and of two the
/// bootstrap sees too little.
pub fn difference_interval(a: &[f64], b: &[f64]) -> Option<Interval> {
    if a.len().min(b.len()) < 3 {
        return None;
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut draw = |values: &[f64]| -> f64 {
        let drawn: Vec<f64> = values.iter().map(|_| values[rng.random_range(0..values.len())]).collect();
        Data::new(drawn).median()
    };
    let differences: Vec<f64> = (0..RESAMPLES).map(|_| draw(b) - draw(a)).collect();
    let mut differences = Data::new(differences);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval { low: differences.quantile(tail), high: differences.quantile(1.0 - tail) })
}

/// Change of a median, as a share of its earlier value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// 0.1 is a tenth more; `None` if it was 0 and is not.
    pub share: Option<f64>,
    /// Its interval; `None` with fewer than three values on either side.
    pub interval: Option<Interval>,
}

impl Change {
    /// The change from values before to values after, at least one each.
    pub fn of(before: &[f64], after: &[f64]) -> Self {
        let (from, to) = (median(before), median(after));
        let base = from.abs();
        let share = |difference: f64| if difference == 0.0 { 0.0 } else { difference / base };
        let interval = difference_interval(before, after).filter(|_| base > 0.0);
        Self {
            share: (base > 0.0 || from == to).then(|| share(to - from)),
            interval: interval.map(|i| Interval { low: share(i.low), high: share(i.high) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_is_all_of_it() {
        let summary = Summary::of(&[5.0, 1.0, 3.0]).unwrap();
        assert_eq!(summary, Summary { n: 3, median: 3.0, min: 1.0, max: 5.0 });
        assert_eq!(Summary::of(&[1.0, 2.0, 4.0, 100.0]).unwrap().median, 3.0);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn the_interval_holds_the_difference_and_nothing_far_from_it() {
        let a: Vec<f64> = (0..21).map(|i| 10.0 + f64::from(i % 7) * 0.1).collect();
        let b: Vec<f64> = a.iter().map(|value| value + 2.0).collect();
        let interval = difference_interval(&a, &b).unwrap();
        assert!(interval.low <= 2.0 && 2.0 <= interval.high, "{interval:?}");
        assert!(interval.low > 1.5 && interval.high < 2.5, "{interval:?}");
        let same = difference_interval(&a, &a).unwrap();
        assert!(same.low <= 0.0 && 0.0 <= same.high, "{same:?}");
    }

    #[test]
    fn intervals_cover_what_they_promise() {
        // Uniform noise around medians 5 apart, 15 values a side; the exact share is a property
        // of the method, but far below what it promises it must not fall.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut values =
            |around: f64| -> Vec<f64> { (0..15).map(|_| around + rng.random_range(-1.0..1.0)).collect() };
        let covered = (0..100)
            .filter(|_| {
                let interval = difference_interval(&values(10.0), &values(15.0)).unwrap();
                interval.low <= 5.0 && 5.0 <= interval.high
            })
            .count();
        assert!((90..=100).contains(&covered), "{covered} of 100");
    }

    #[test]
    fn the_same_values_give_the_same_interval() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.5]);
        assert_eq!(difference_interval(&a, &b), difference_interval(&a, &b));
    }

    #[test]
    fn two_values_are_too_few() {
        assert_eq!(difference_interval(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn a_change_is_a_share_of_the_earlier_value() {
        let change = Change::of(&[-10.0, -10.0, -10.0], &[-9.0, -9.0, -9.0]);
        let interval = Interval { low: 0.1, high: 0.1 };
        assert_eq!(change, Change { share: Some(0.1), interval: Some(interval) });
        assert_eq!(Change::of(&[0.0], &[1.0]).share, None);
        assert_eq!(Change::of(&[0.0], &[0.0]), Change { share: Some(0.0), interval: None });
    }
}
