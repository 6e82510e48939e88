//! Parameters of an experiment and the points that their values span.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Values of the parameters at one point.
pub type Point = BTreeMap<String, f64>;

/// One parameter and its values; `tasks=1,2,4` on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Name of the parameter.
    pub name: String,
    /// Values, in the order in which they are measured.
    pub values: Vec<f64>,
}

impl Axis {
    /// Makes an axis.
    pub fn new(name: &str, values: &[f64]) -> Self {
        Self { name: name.into(), values: values.into() }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(f64::to_string).collect();
        write!(f, "{}={}", self.name, values.join(","))
    }
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("`{text}` is not of the form tasks=1,2,4"))?;
        // Only times and rates have fractions; the others count tasks, percents, …
        let (fractions, number) = match name.ends_with("_ms") || name.ends_with("_per_second") {
            true => (true, "number"),
            false => (false, "whole number"),
        };
        let values = values.split(',').map(|value| match value.parse::<f64>() {
            Ok(parsed) if parsed.is_finite() && parsed >= 0.0 && (fractions || parsed.fract() == 0.0) => {
                Ok(parsed)
            }
            _ => Err(format!("{name}: `{value}` is not a {number} from 0 on")),
        });
        Ok(Self { name: name.into(), values: values.collect::<Result<_, _>>()? })
    }
}

/// Returns every combination of the axes' values; the last axis varies fastest.
pub fn points(axes: &[Axis]) -> Vec<Point> {
    axes.iter().fold(vec![Point::new()], |points, axis| {
        let with = |point: &Point, value: f64| {
            let mut point = point.clone();
            point.insert(axis.name.clone(), value);
            point
        };
        points.iter().flat_map(|point| axis.values.iter().map(move |&value| with(point, value))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_survives_its_text() {
        let axis = Axis::new("page_latency_ms", &[0.0, 0.01, 50.0]);
        assert_eq!(axis.to_string(), "page_latency_ms=0,0.01,50");
        assert_eq!(axis.to_string().parse(), Ok(axis));
    }

    #[test]
    fn a_text_that_is_no_axis_is_named() {
        for (text, named) in [("tasks", "tasks"), ("=1", "=1"), ("tasks=1,x", "`x`"), ("tasks=", "``")] {
            let error = text.parse::<Axis>().unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!("tasks=-1".parse::<Axis>().is_err() && "tasks=inf".parse::<Axis>().is_err());
    }

    #[test]
    fn an_axis_that_counts_takes_whole_numbers_only() {
        for text in ["tasks=1,1.5", "guarded_percent=1.5", "helpers=0.1"] {
            let error = text.parse::<Axis>().unwrap_err();
            assert!(error.contains("is not a whole number from 0 on"), "{error}");
        }
        assert!("page_latency_ms=1.5".parse::<Axis>().is_ok());
        assert!("requests_per_second=0.5".parse::<Axis>().is_ok());
    }

    #[test]
    fn points_are_every_combination_once_the_last_axis_fastest() {
        let points = points(&[Axis::new("a", &[1.0, 2.0]), Axis::new("b", &[5.0, 6.0])]);
        let pairs: Vec<_> = points.iter().map(|p| (p["a"], p["b"])).collect();
        assert_eq!(pairs, [(1.0, 5.0), (1.0, 6.0), (2.0, 5.0), (2.0, 6.0)]);
    }
}
