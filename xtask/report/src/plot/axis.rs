//! Axes that choose their scale and the places of their numbers.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::number;

/// Values further apart than this factor need a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 20.0;

/// Numbers on a logarithmic axis: as many as can be read.
const MOST_NUMBERS: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log,
    /// Logarithmic, with 0 a step to the left of the smallest other value.
    LogAfterZero,
    /// Logarithmic in what is left up to 1: 0.9, 0.99, 0.999 are equally far apart.
    Nines,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
    /// Share of its length that stays free at both ends.
    inset: f64,
}

/// Room between marks and the other axis.
const INSET: f64 = 0.035;

impl Axis {
    /// For an independent variable: its numbers stand where values are.
    pub fn variable(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let positive: Vec<f64> = values.iter().copied().filter(|&value| value > 0.0).collect();
        let (low, high) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(1.0));
        let wide = positive.first().is_some_and(|first| high / first >= LOGARITHMIC_FROM);
        let scale = match low {
            0.0 if wide && positive.len() > 2 => Scale::LogAfterZero,
            low if low > 0.0 && wide => Scale::Log,
            _ => Scale::Linear,
        };
        let ticks = values.iter().map(|&value| (value, tick(value))).collect();
        match scale {
            Scale::LogAfterZero => {
                // Zero takes the place of one more value of the same distance.
                let step = (high / positive[0]).powf(1.0 / (positive.len() - 1) as f64);
                Self { scale, low: positive[0] / step, high, ticks, inset: INSET }
            }
            _ if low == high => {
                Self { scale: Scale::Linear, low: low - 0.5, high: high + 0.5, ticks, inset: INSET }
            }
            _ => Self { scale, low, high, ticks, inset: INSET },
        }
    }

    /// For measured values.
    pub fn measured(low: f64, high: f64) -> Self {
        if low > 0.0 && high / low >= LOGARITHMIC_FROM {
            Self::log(low, high)
        } else {
            Self::linear(low, high)
        }
    }

    /// Equal differences, from 0 where nothing is below.
    pub fn linear(low: f64, high: f64) -> Self {
        let low = low.min(0.0);
        // A fifth of a smaller difference may be none.
        let high = if high - low > f64::MIN_POSITIVE { high } else { low + 1.0 };
        let rough = (high - low) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let (first, last) = ((low / step).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks = (first..=last).map(|i| i as f64 * step).map(|value| (value, tick(value))).collect();
        Self { scale: Scale::Linear, low: first as f64 * step, high: last as f64 * step, ticks, inset: 0.0 }
    }

    /// From 0 to the largest value.
    pub fn until(high: f64) -> Self {
        let mut axis = Self::linear(0.0, high);
        axis.high = if high > 0.0 { high } else { axis.high };
        axis.ticks.retain(|(value, _)| *value <= axis.high);
        axis
    }

    /// For counts: whole numbers only.
    pub fn counts(high: u32) -> Self {
        if high > 5 {
            return Self::linear(0.0, high.into());
        }
        let high = high.max(1);
        let ticks = (0..=high).map(|count| (count.into(), count.to_string())).collect();
        Self { scale: Scale::Linear, low: 0.0, high: high.into(), ticks, inset: 0.0 }
    }

    /// Equal ratios.
    pub fn log(low: f64, high: f64) -> Self {
        let (low, high) = (low / 1.12, high * 1.12);
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let of = |steps: &[f64]| -> Vec<(f64, String)> {
            let all = decades.clone().flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
            all.filter(|value| (low..=high).contains(value)).map(|value| (value, tick(value))).collect()
        };
        let finer = [&[1.0][..], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]].map(of);
        let ticks = finer.into_iter().rev().find(|ticks| ticks.len() <= MOST_NUMBERS).unwrap_or_default();
        Self { scale: Scale::Log, low, high, ticks, inset: 0.0 }
    }

    /// Percentiles from 0 up to the one beyond which a single value of `count` lies.
    pub fn percentiles(count: u64) -> Self {
        let high = 1.0 - 1.0 / (count.max(20) as f64);
        let named = [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];
        let ticks = named.into_iter().filter(|(share, _)| *share <= high);
        Self {
            scale: Scale::Nines,
            low: 0.0,
            high,
            ticks: ticks.map(|(share, name)| (share, name.to_owned())).collect(),
            inset: 0.0,
        }
    }

    /// No numbers: for rows that have names.
    pub const fn rows(count: f64) -> Self {
        Self { scale: Scale::Linear, low: 0.0, high: count, ticks: Vec::new(), inset: 0.0 }
    }

    /// Position along the axis, from 0 to 1; a value beyond the axis has one beyond these.
    pub fn position(&self, value: f64) -> f64 {
        let along = |f: fn(f64) -> f64| (f(value) - f(self.low)) / (f(self.high) - f(self.low));
        let position = match self.scale {
            Scale::Linear => along(|value| value),
            Scale::Log => along(f64::ln),
            Scale::LogAfterZero if value == 0.0 => 0.0,
            Scale::LogAfterZero => along(f64::ln),
            Scale::Nines => along(|value| -(1.0 - value).max(1e-12).ln()),
        };
        // Far beyond the axis, a place must still be a number.
        self.inset + position.clamp(-1e4, 1e4) * (1.0 - 2.0 * self.inset)
    }

    /// Leaves out numbers that would touch others on an axis of this length, each as wide as
    /// `width` says. The first and the last stay.
    pub fn thinned(mut self, length: f64, width: impl Fn(&str) -> f64) -> Self {
        let ends = |(value, text): &(f64, String)| {
            let (middle, half) = (self.position(*value) * length, width(text) / 2.0);
            (middle - half, middle + half)
        };
        let Some(last) = self.ticks.last().map(ends) else { return self };
        let count = self.ticks.len();
        let mut until = f64::NEG_INFINITY;
        let keep: Vec<bool> = self
            .ticks
            .iter()
            .enumerate()
            .map(|(i, tick)| {
                let (from, to) = ends(tick);
                let free = i + 1 == count || from >= until && to <= last.0;
                if free {
                    until = to;
                }
                free
            })
            .collect();
        let mut keep = keep.into_iter();
        self.ticks.retain(|_| keep.next().unwrap_or(true));
        self
    }

    /// The numbers on it.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|(_, text)| text.as_str())
    }
}

/// Without the noise that floating point leaves in the last digits.
fn tick(value: f64) -> String {
    let rounded: f64 = format!("{value:.6e}").parse().unwrap_or(value);
    number::exact(rounded).replace('-', "−")
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.position(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // plotters first asks for few, for the grid's strong lines, then for more; there are no more.
        if hint.weight().allow_light_points() {
            vec![]
        } else {
            self.ticks.iter().map(|(value, _)| *value).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.labels().collect()
    }

    #[test]
    fn a_wide_variable_is_logarithmic_with_numbers_at_its_values() {
        let axis = Axis::variable(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        assert_eq!(labels(&axis), ["1", "2", "4", "8", "16", "32"]);
        assert!((axis.position(4.0) - (INSET + 0.4 * (1.0 - 2.0 * INSET))).abs() < 1e-9);
        let linear = Axis::variable(&[0.0, 25.0, 50.0, 100.0]);
        assert!((linear.position(25.0) - (INSET + 0.25 * (1.0 - 2.0 * INSET))).abs() < 1e-9);
    }

    #[test]
    fn zero_has_a_place_left_of_a_logarithmic_axis() {
        let axis = Axis::variable(&[0.0, 0.1, 1.0, 10.0]);
        let positions: Vec<f64> = [0.0, 0.1, 1.0, 10.0].map(|value| axis.position(value)).into();
        assert!((positions[0] - INSET).abs() < 1e-9, "{positions:?}");
        let steps: Vec<f64> = positions.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9), "{positions:?}");
    }

    #[test]
    fn one_value_stands_in_the_middle() {
        assert!((Axis::variable(&[7.0]).position(7.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn measured_values_get_round_numbers() {
        assert_eq!(labels(&Axis::linear(0.0, 5e-324)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(&Axis::measured(1.0, 9.3)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::measured(0.03, 0.9)), ["0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(&Axis::log(1.1, 4.0)), ["1", "1.5", "2", "3", "4"]);
        assert_eq!(labels(&Axis::measured(0.01, 2000.0)), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(labels(&Axis::measured(0.0, 0.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(&Axis::until(9.3)), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(&Axis::counts(2)), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::measured(-3.0, 3.0)), ["−4", "−2", "0", "2", "4"]);
    }

    #[test]
    fn an_axis_has_a_place_for_any_value() {
        let axis = Axis::linear(0.0, 1e-9);
        assert_eq!(axis.map(&-1e300, (0, 9600)), -96_000_000);
        assert_eq!(axis.map(&1e300, (9600, 0)), 9600 - 96_000_000);
    }

    #[test]
    fn percentiles_end_where_a_single_value_is_left() {
        let axis = Axis::percentiles(1000);
        assert_eq!(labels(&axis), ["0", "50", "90", "99", "99.9"]);
        assert!((axis.position(0.99) - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn numbers_do_not_touch_and_both_ends_stay() {
        let axis = Axis::variable(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        let thinned = axis.thinned(100.0, |text| text.len() as f64 * 10.0);
        assert_eq!(labels(&thinned), ["1", "2", "4", "8", "32", "128"]);
    }
}
