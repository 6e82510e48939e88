//! Medians and spreads of repetitions, for claims and references, and claims of many points.

use apf_report::document::{Claim, Mode, Sample};
use apf_report::stats::Summary;

/// Median and spread of the values that are numbers; `None` if there are none.
pub fn summary(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    Summary::of(&values)
}

/// "85.0 (82.1 to 88.3)", each value multiplied by `factor` first.
pub fn spread(&Summary { median, min, max, .. }: &Summary, factor: f64) -> String {
    format!("{:.1} ({:.1} to {:.1})", median * factor, min * factor, max * factor)
}

/// The samples of one mode at the points where every given parameter has its value.
pub fn at<'a>(
    samples: &'a [Sample],
    mode: Mode,
    point: &'a [(&str, f64)],
) -> impl Iterator<Item = &'a Sample> + Clone {
    samples.iter().filter(move |sample| {
        sample.mode == mode && point.iter().all(|(name, value)| sample.parameters.get(*name) == Some(value))
    })
}

/// A metric of each sample that has it.
pub fn metric<'a>(samples: impl Iterator<Item = &'a Sample>, name: &str) -> Option<Summary> {
    summary(samples.filter_map(|sample| sample.metrics.get(name).copied()))
}

/// A claim that must hold at each of `points`; `None` if there are none.
pub fn claim_at_each<T>(
    text: &str,
    points: &[T],
    measured: impl Fn(&T) -> String,
    holds: impl Fn(&T) -> bool,
) -> Option<Claim> {
    (!points.is_empty()).then(|| Claim {
        text: text.into(),
        measured: points.iter().map(measured).collect::<Vec<_>>().join(", "),
        holds: points.iter().all(holds),
    })
}

/// Pairs of each value of a parameter, in ascending order, and the result of `of` for it.
pub fn at_each<T>(samples: &[Sample], parameter: &str, of: impl Fn(f64) -> Option<T>) -> Vec<(f64, T)> {
    values_of(samples, parameter).into_iter().filter_map(|value| Some((value, of(value)?))).collect()
}

/// The different values of a parameter, in ascending order.
pub fn values_of(samples: &[Sample], parameter: &str) -> Vec<f64> {
    let mut values: Vec<f64> = samples.iter().filter_map(|s| s.parameters.get(parameter).copied()).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A sample with these parameters and metrics.
    pub fn sample(mode: Mode, parameters: &[(&str, f64)], metrics: &[(&str, f64)]) -> Sample {
        let map = |pairs: &[(&str, f64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        Sample { metrics: map(metrics), ..Sample::new(mode, map(parameters)) }
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(summary([3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(summary([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(summary([f64::NAN]), None);
        assert_eq!(spread(&summary([0.5, 0.25]).unwrap(), 100.0), "37.5 (25.0 to 50.0)");
    }

    #[test]
    fn samples_are_found_by_mode_and_point() {
        let samples = [
            sample(Mode::Async, &[("tasks", 1.0), ("l", 5.0)], &[("ms", 1.0)]),
            sample(Mode::Async, &[("tasks", 2.0), ("l", 5.0)], &[("ms", 2.0)]),
            sample(Mode::Halt, &[("tasks", 1.0), ("l", 5.0)], &[("ms", 3.0)]),
        ];
        assert_eq!(metric(at(&samples, Mode::Async, &[("tasks", 1.0)]), "ms").unwrap().median, 1.0);
        assert_eq!(metric(at(&samples, Mode::Async, &[("l", 5.0)]), "ms").unwrap().median, 1.5);
        assert_eq!(metric(at(&samples, Mode::Blocked, &[]), "ms"), None);
        assert_eq!(values_of(&samples, "tasks"), [1.0, 2.0]);
    }
}
