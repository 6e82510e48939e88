//! A document that was checked, with its samples in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::check::{self, Impossible};
use crate::document::{Document, Metric, Mode, Reference, Sample};
use crate::number;
use crate::points::{Point, Value};
use crate::stats::Summary;

/// A document that passed every check, with its samples by the point at which they were taken.
#[derive(Clone, Debug)]
pub struct Report {
    document: Document,
    /// Places in [`Document::samples`].
    samples: BTreeMap<Point, BTreeMap<Mode, Vec<usize>>>,
    modes: Vec<Mode>,
    /// By the metric's name.
    sharing: BTreeMap<String, Sharing>,
    /// As [`Document::references`].
    references: Vec<BTreeMap<Point, f64>>,
}

/// Samples that share one value of a metric.
#[derive(Clone, Debug)]
struct Sharing {
    modes: Modes,
    /// Values of each panel, one a repetition, if all its samples share them.
    panels: Option<Constant>,
}

/// The modes by which a metric is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Each has values of its own.
    Each(Vec<Mode>),
    /// All have the same; this is one of them.
    All(Mode),
}

impl Modes {
    /// The modes and their names.
    pub fn named(&self) -> Vec<(Mode, &'static str)> {
        match self {
            Self::Each(modes) => modes.iter().map(|mode| (*mode, mode.name())).collect(),
            Self::All(mode) => vec![(*mode, "all modes")],
        }
    }
}

/// A metric along the variable in one mode: values of the variable, and summaries.
pub type Curve = Vec<(f64, Summary)>;

/// Values of a metric by panel, one a repetition.
pub type Constant = BTreeMap<Option<Value>, Vec<f64>>;

impl Deref for Report {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}

impl Report {
    /// Checks a document.
    ///
    /// # Errors
    /// The first field that is missing or makes no sense beside the others.
    pub fn new(document: Document) -> Result<Self, Impossible> {
        check::check(&document)?;
        let mut samples: BTreeMap<Point, BTreeMap<Mode, Vec<usize>>> = BTreeMap::new();
        for (i, sample) in document.samples.iter().enumerate() {
            let point = point(&document, &sample.parameters);
            samples.entry(point).or_default().entry(sample.mode).or_default().push(i);
        }
        let modes: BTreeSet<Mode> = document.samples.iter().map(|sample| sample.mode).collect();
        let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|mode| modes.contains(mode)).collect();
        let sharing = document.experiment.metrics.iter();
        let sharing = sharing.map(|metric| (metric.name.clone(), Sharing::of(&document, metric, &modes)));
        let sharing = sharing.collect();
        let references = document.references.iter().map(|reference| {
            let points = reference.points.iter();
            points.map(|(parameters, value)| (point(&document, parameters), *value)).collect()
        });
        let references = references.collect();
        Ok(Self { document, samples, modes, sharing, references })
    }

    /// The point of a sample.
    pub fn point(&self, sample: &Sample) -> Point {
        point(&self.document, &sample.parameters)
    }

    /// A point in words: "tasks that read: 64, page latency in ms: 10".
    pub fn place(&self, point: Point) -> String {
        let mut text = format!("{}: {}", self.experiment.variable.label, number::exact(point.x.0));
        if point.panel.is_some() {
            text += &format!(", {}", self.panel_title(point.panel));
        }
        text
    }

    /// A sample in words.
    pub fn title(&self, sample: &Sample) -> String {
        let place = self.place(self.point(sample));
        format!("{}, {place}, repetition {}", sample.mode.name(), sample.repetition)
    }

    /// The modes that were run, in the order in which they are shown.
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// The modes by which a declared metric is shown. One stands for all where they share each
    /// value: then it was measured beside the modes, for others to be compared with.
    pub fn modes_of(&self, metric: &Metric) -> &Modes {
        &self.sharing[&metric.name].modes
    }

    /// All points, sorted.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.samples.keys().copied()
    }

    /// The points of a panel, sorted.
    pub fn points_of(&self, panel: Option<Value>) -> impl Iterator<Item = Point> + '_ {
        self.samples.range(Point::all_of(panel)).map(|(point, _)| *point)
    }

    /// Returns whether there is a sample at a point.
    pub fn has(&self, point: Point) -> bool {
        self.samples.contains_key(&point)
    }

    /// The panels, sorted; one `None` where there are no panels.
    pub fn panels(&self) -> BTreeSet<Option<Value>> {
        self.points().map(|point| point.panel).collect()
    }

    /// The samples at a point in a mode.
    pub fn samples_at(&self, point: Point, mode: Mode) -> impl Iterator<Item = &Sample> {
        let places = self.samples.get(&point).and_then(|modes| modes.get(&mode));
        places.into_iter().flatten().map(|&i| &self.document.samples[i])
    }

    /// The values of a metric at a point in a mode, one a repetition.
    pub fn values(&self, metric: &str, point: Point, mode: Mode) -> Vec<f64> {
        self.samples_at(point, mode).filter_map(|sample| sample.metrics.get(metric).copied()).collect()
    }

    /// The values of a declared metric that is measured once for each repetition of a panel, and
    /// stands in each of its samples: a cost that others are compared with. `None` if it depends on
    /// mode or variable.
    pub fn constant(&self, metric: &Metric) -> Option<&Constant> {
        self.sharing[&metric.name].panels.as_ref()
    }

    /// A panel in words: "page latency in ms: 10"; nothing where there are none.
    pub fn panel_title(&self, panel: Option<Value>) -> String {
        match (&self.experiment.panel, panel) {
            (Some(parameter), Some(value)) => format!("{}: {}", parameter.label, number::exact(value.0)),
            _ => String::new(),
        }
    }

    /// The metrics that depend on mode or variable.
    pub fn varying(&self) -> impl Iterator<Item = &Metric> {
        self.experiment.metrics.iter().filter(|metric| self.constant(metric).is_none())
    }

    /// A metric along the variable.
    pub fn curve(&self, metric: &str, panel: Option<Value>, mode: Mode) -> Curve {
        let summary = |point| Some((point, Summary::of(&self.values(metric, point, mode))?));
        self.points_of(panel).filter_map(summary).map(|(point, summary)| (point.x.0, summary)).collect()
    }

    /// The references of a metric, with their values by point.
    pub fn references_of<'a>(
        &'a self,
        metric: &'a Metric,
    ) -> impl Iterator<Item = (&'a Reference, &'a BTreeMap<Point, f64>)> {
        let all = self.document.references.iter().zip(&self.references);
        all.filter(|(reference, _)| reference.metric == metric.name)
    }
}

/// The point with these parameters, which are complete.
fn point(document: &Document, parameters: &BTreeMap<String, f64>) -> Point {
    let value = |name: &str| Value(parameters.get(name).copied().unwrap_or_default());
    let experiment = &document.experiment;
    Point {
        panel: experiment.panel.as_ref().map(|panel| value(&panel.name)),
        x: value(&experiment.variable.name),
    }
}

impl Sharing {
    fn of(document: &Document, metric: &Metric, modes: &[Mode]) -> Self {
        let point = |sample: &Sample| point(document, &sample.parameters);
        let at_each_point =
            shared(document, metric, |sample| (point(sample), sample.boot, sample.repetition));
        let first = document.samples.iter().find(|sample| sample.metrics.contains_key(&metric.name));
        let modes = match (at_each_point, first) {
            (Some(_), Some(first)) => Modes::All(first.mode),
            _ => Modes::Each(modes.to_vec()),
        };
        let in_panels =
            shared(document, metric, |sample| (point(sample).panel, sample.boot, sample.repetition));
        let panels = in_panels.map(|values| {
            let mut panels = Constant::new();
            for ((panel, ..), value) in values {
                panels.entry(panel).or_default().push(value);
            }
            panels
        });
        Self { modes, panels }
    }
}

/// The values of a metric by this key, if all samples of a key share one and some key has several.
fn shared<K: Ord>(
    document: &Document,
    metric: &Metric,
    key: impl Fn(&Sample) -> K,
) -> Option<BTreeMap<K, f64>> {
    let mut shared: BTreeMap<K, f64> = BTreeMap::new();
    let mut measured = 0;
    for sample in &document.samples {
        let Some(&value) = sample.metrics.get(&metric.name) else { continue };
        measured += 1;
        if shared.entry(key(sample)).or_insert(value).to_bits() != value.to_bits() {
            return None;
        }
    }
    (measured > shared.len()).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn repetitions_at_a_point_are_one_value_of_a_curve() {
        let report = example::report(example::overlap(1));
        let panels: Vec<_> = report.panels().into_iter().collect();
        assert_eq!(panels, [Some(Value(1.0)), Some(Value(10.0)), Some(Value(50.0))]);
        let curve = report.curve("seconds", panels[1], Mode::Async);
        let tasks: Vec<f64> = curve.iter().map(|(x, _)| *x).collect();
        assert_eq!(tasks, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        assert!(curve.iter().all(|(_, summary)| summary.n == 5));
        assert_eq!(report.modes(), [Mode::Blocked, Mode::Halt, Mode::Async]);
    }

    #[test]
    fn a_metric_that_all_modes_share_is_shown_by_one() {
        let mut document = example::small().document();
        let report = example::report(document.clone());
        let seconds = &document.experiment.metrics[0].clone();
        assert_eq!(*report.modes_of(seconds), Modes::Each(report.modes().into()));
        for sample in &mut document.samples {
            sample.metrics.insert("seconds".into(), sample.parameters["tasks"]);
        }
        let report = example::report(document);
        assert_eq!(report.modes_of(seconds).named(), [(report.document.samples[0].mode, "all modes")]);
        // It depends on the variable, so it is drawn.
        assert_eq!(report.constant(seconds), None);
    }

    #[test]
    fn a_metric_that_is_the_same_in_all_samples_of_a_repetition_is_shown_once() {
        let mut document = example::small().document();
        assert_eq!(example::report(document.clone()).varying().count(), 2);
        for sample in &mut document.samples {
            sample.metrics.insert("seconds".into(), 1.5 + f64::from(sample.repetition));
        }
        let report = example::report(document);
        let values = BTreeMap::from([(Some(Value(10.0)), vec![1.5, 2.5, 3.5])]);
        assert_eq!(report.constant(&report.experiment.metrics[0]), Some(&values));
        let varying: Vec<&str> = report.varying().map(|metric| metric.name.as_str()).collect();
        assert_eq!(varying, ["computing_kept_percent"]);
    }

    #[test]
    fn references_are_sorted_and_have_panels() {
        let report = example::report(example::overlap(1));
        let (_, ideal) = report.references_of(&report.experiment.metrics[0]).next().unwrap();
        let panel: Vec<f64> = ideal.range(Point::all_of(Some(Value(10.0)))).map(|(p, _)| p.x.0).collect();
        assert_eq!((panel.len(), panel.is_sorted()), (8, true));
    }
}
