//! A document's samples by the point at which they were taken.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Document, Metric, Mode, Reference, Sample};
use crate::number;
use crate::stats::Summary;

/// A parameter's value that can be a key: documents hold no NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value(pub f64);

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // -0 and 0 are one place.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

/// Which picture, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The panel parameter's value, if there are panels.
    pub panel: Option<Value>,
    /// The variable's.
    pub x: Value,
}

/// The modes to tell a metric by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Each has values of its own.
    Each(Vec<Mode>),
    /// All have the same; this is one of them.
    All(Mode),
}

impl Modes {
    /// The modes, and what they are called.
    #[must_use]
    pub fn named(&self) -> Vec<(Mode, &'static str)> {
        match self {
            Self::Each(modes) => modes.iter().map(|mode| (*mode, mode.name())).collect(),
            Self::All(mode) => vec![(*mode, "all modes")],
        }
    }
}

/// A metric along the variable in one mode: where, and what.
pub type Curve = Vec<(f64, Summary)>;

impl Document {
    /// The point with these parameters, which [`Document::check`] has found complete.
    #[must_use]
    pub fn point(&self, parameters: &BTreeMap<String, f64>) -> Point {
        let value = |name: &str| Value(parameters.get(name).copied().unwrap_or_default());
        Point {
            panel: self.experiment.panel.as_ref().map(|panel| value(&panel.name)),
            x: value(&self.experiment.variable.name),
        }
    }

    /// A point in words: "tasks that read: 64, page latency in ms: 10".
    #[must_use]
    pub fn place(&self, point: Point) -> String {
        let experiment = &self.experiment;
        let mut text = format!("{}: {}", experiment.variable.label, number::exact(point.x.0));
        if point.panel.is_some() {
            text += &format!(", {}", self.panel_title(point.panel));
        }
        text
    }

    /// A sample in words.
    #[must_use]
    pub fn title(&self, sample: &Sample) -> String {
        let place = self.place(self.point(&sample.parameters));
        format!("{}, {place}, repetition {}", sample.mode.name(), sample.repetition)
    }

    /// The modes that were run, in the order in which they are shown.
    #[must_use]
    pub fn modes(&self) -> Vec<Mode> {
        let ran: BTreeSet<Mode> = self.samples.iter().map(|sample| sample.mode).collect();
        Mode::ALL.into_iter().filter(|mode| ran.contains(mode)).collect()
    }

    /// The modes to tell a metric by. One stands for all where they share each value: then it was
    /// measured beside the modes, for others to be held against.
    #[must_use]
    pub fn modes_of(&self, metric: &str) -> Modes {
        let mut shared: BTreeMap<(Point, u32, u32), f64> = BTreeMap::new();
        let mut told = 0;
        for sample in &self.samples {
            let Some(&value) = sample.metrics.get(metric) else { continue };
            told += 1;
            let key = (self.point(&sample.parameters), sample.boot, sample.repetition);
            if shared.entry(key).or_insert(value).to_bits() != value.to_bits() {
                return Modes::Each(self.modes());
            }
        }
        let first = self.samples.iter().find(|sample| sample.metrics.contains_key(metric));
        match first {
            Some(first) if told > shared.len() => Modes::All(first.mode),
            _ => Modes::Each(self.modes()),
        }
    }

    /// All points, sorted.
    #[must_use]
    pub fn points(&self) -> BTreeSet<Point> {
        self.samples.iter().map(|sample| self.point(&sample.parameters)).collect()
    }

    /// The panels, sorted; one `None` where there are no panels.
    #[must_use]
    pub fn panels(&self) -> BTreeSet<Option<Value>> {
        self.points().into_iter().map(|point| point.panel).collect()
    }

    /// The samples at a point in a mode.
    pub fn samples_at(&self, point: Point, mode: Mode) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.mode == mode && self.point(&sample.parameters) == point)
    }

    /// The values of a metric at a point in a mode, one a repetition.
    #[must_use]
    pub fn values(&self, metric: &str, point: Point, mode: Mode) -> Vec<f64> {
        self.samples_at(point, mode).filter_map(|sample| sample.metrics.get(metric).copied()).collect()
    }

    /// The values of a metric that is measured once for each repetition of a panel, and told with
    /// each of its samples: a cost that others are held against. `None` if it depends on mode or
    /// variable.
    #[must_use]
    pub fn constant(&self, metric: &str) -> Option<BTreeMap<Option<Value>, Vec<f64>>> {
        let mut measured: BTreeMap<(Option<Value>, u32, u32), f64> = BTreeMap::new();
        let mut told = 0;
        for sample in &self.samples {
            let Some(&value) = sample.metrics.get(metric) else { continue };
            told += 1;
            let panel = self.point(&sample.parameters).panel;
            let first = *measured.entry((panel, sample.boot, sample.repetition)).or_insert(value);
            if first.to_bits() != value.to_bits() {
                return None;
            }
        }
        let once = told > measured.len();
        let mut of_panel: BTreeMap<Option<Value>, Vec<f64>> = BTreeMap::new();
        for ((panel, ..), value) in measured {
            of_panel.entry(panel).or_default().push(value);
        }
        once.then_some(of_panel)
    }

    /// A panel in words: "page latency in ms: 10"; nothing where there are none.
    #[must_use]
    pub fn panel_title(&self, panel: Option<Value>) -> String {
        match (&self.experiment.panel, panel) {
            (Some(parameter), Some(value)) => format!("{}: {}", parameter.label, number::exact(value.0)),
            _ => String::new(),
        }
    }

    /// The metrics that depend on mode or variable.
    pub fn varying(&self) -> impl Iterator<Item = &Metric> {
        self.experiment.metrics.iter().filter(|metric| self.constant(&metric.name).is_none())
    }

    /// A metric along the variable.
    #[must_use]
    pub fn curve(&self, metric: &str, panel: Option<Value>, mode: Mode) -> Curve {
        let points = self.points();
        let here = points.iter().filter(|point| point.panel == panel);
        here.filter_map(|&point| Some((point.x.0, Summary::of(&self.values(metric, point, mode))?))).collect()
    }

    /// The part of a reference that belongs to a panel, sorted.
    #[must_use]
    pub fn reference_curve(&self, reference: &Reference, panel: Option<Value>) -> Vec<(f64, f64)> {
        let of_panel: BTreeMap<Value, f64> = reference
            .points
            .iter()
            .map(|(parameters, value)| (self.point(parameters), *value))
            .filter(|(point, _)| point.panel == panel)
            .map(|(point, value)| (point.x, value))
            .collect();
        of_panel.into_iter().map(|(x, value)| (x.0, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn repetitions_at_a_point_are_one_value_of_a_curve() {
        let document = example::overlap(1);
        let panels: Vec<_> = document.panels().into_iter().collect();
        assert_eq!(panels, [Some(Value(1.0)), Some(Value(10.0)), Some(Value(50.0))]);
        let curve = document.curve("seconds", panels[1], Mode::Async);
        let tasks: Vec<f64> = curve.iter().map(|(x, _)| *x).collect();
        assert_eq!(tasks, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        assert!(curve.iter().all(|(_, summary)| summary.n == 5));
        assert_eq!(document.modes(), [Mode::Blocked, Mode::Halt, Mode::Async]);
    }

    #[test]
    fn a_metric_that_all_modes_share_is_told_by_one() {
        let mut document = example::small().document();
        assert_eq!(document.modes_of("seconds"), Modes::Each(document.modes()));
        for sample in &mut document.samples {
            sample.metrics.insert("seconds".into(), sample.parameters["tasks"]);
        }
        let modes = document.modes_of("seconds");
        assert_eq!(modes.named(), [(document.samples[0].mode, "all modes")]);
        // It depends on the variable, so it is drawn.
        assert_eq!(document.constant("seconds"), None);
    }

    #[test]
    fn a_metric_that_is_the_same_in_all_samples_of_a_repetition_is_told_once() {
        let mut document = example::small().document();
        assert_eq!(document.varying().count(), 2);
        for sample in &mut document.samples {
            sample.metrics.insert("seconds".into(), 1.5 + f64::from(sample.repetition));
        }
        let told = BTreeMap::from([(Some(Value(10.0)), vec![1.5, 2.5, 3.5])]);
        assert_eq!(document.constant("seconds"), Some(told));
        let varying: Vec<&str> = document.varying().map(|metric| metric.name.as_str()).collect();
        assert_eq!(varying, ["computing_kept_percent"]);
        assert_eq!(document.constant("unknown"), None);
    }

    #[test]
    fn references_are_cut_by_panel_and_sorted() {
        let document = example::overlap(1);
        let ideal = &document.references[0];
        let curve = document.reference_curve(ideal, Some(Value(10.0)));
        assert_eq!(curve.len(), 8);
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn both_zeros_are_one_place() {
        assert_eq!(Value(0.0).cmp(&Value(-0.0)), std::cmp::Ordering::Equal);
    }
}
