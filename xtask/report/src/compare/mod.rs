//! Two reports side by side: differences, their certainty, and a verdict on each.
//!
//! - [`comparable`]: fields that must be the same for the rest to mean anything
//! - [`text`]: the comparison for a terminal
pub mod comparable;
pub mod text;

use crate::Report;
use crate::document::{Better, Metric, Mode};
use crate::points::Point;
use crate::report::Modes;
use crate::stats::{Change, Interval, Summary};
use comparable::NotComparable;

/// Fewest repetitions of which a bootstrap interval of a median is as wide as it should be.
const ENOUGH: usize = 5;

/// Two reports, the second compared with the first.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The earlier one.
    pub a: &'a Report,
    /// The later one.
    pub b: &'a Report,
    /// A metric may be worse by this share of its earlier median.
    pub limit: f64,
    /// Every metric at every point in every mode that both have.
    pub rows: Vec<Row<'a>>,
    /// Differences in the setting that a reader should know.
    pub notes: Vec<String>,
}

/// One metric at one point in one mode.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// The point.
    pub point: Point,
    /// The mode.
    pub mode: Mode,
    /// Before.
    pub a: Summary,
    /// After.
    pub b: Summary,
    /// The change of the median as a share of the earlier one; `None` if that is 0.
    pub change: Option<f64>,
    /// The interval of the change; `None` with fewer than three repetitions.
    pub interval: Option<Interval>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Verdict on a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Surely worse by more than the limit.
    Regression,
    /// The medians differ by more than the limit, but the repetitions do not show it surely.
    Suspect,
    /// Surely worse, but within the limit.
    Worse,
    /// No difference that is sure.
    Same,
    /// Surely better.
    Better,
    /// Fewer than three repetitions, or nothing to relate a change to.
    Unknown,
    /// A metric without better or worse.
    NotJudged,
}

impl<'a> Comparison<'a> {
    /// Compares two reports.
    ///
    /// # Errors
    /// They are not of one kind, or nothing in them can be judged.
    pub fn new(a: &'a Report, b: &'a Report, limit: f64) -> Result<Self, NotComparable> {
        let mut notes = comparable::check(a, b)?;
        let mut rows = Vec::new();
        let common: Vec<Point> = a.points().filter(|point| b.has(*point)).collect();
        for metric in &a.experiment.metrics {
            let places = common.iter().flat_map(|&point| Mode::ALL.map(|mode| (metric, point, mode)));
            let mut of_metric: Vec<Row<'_>> = places.filter_map(|place| row(a, b, limit, place)).collect();
            let both = |holds: &dyn Fn(&Report, &Metric) -> bool| {
                let metrics = |it: &'a Report| &it.experiment.metrics;
                [a, b]
                    .into_iter()
                    .all(|it| metrics(it).iter().any(|other| other.name == metric.name && holds(it, other)))
            };
            // A metric that is the same everywhere in a panel is compared once.
            if both(&|report, metric| report.constant(metric).is_some()) {
                of_metric.dedup_by_key(|row| row.point.panel);
            }
            // And once at each point if all modes share it.
            if both(&|report, metric| matches!(report.modes_of(metric), Modes::All(_))) {
                of_metric.dedup_by_key(|row| row.point);
            }
            rows.extend(of_metric);
        }
        let judged = |row: &Row<'_>| !matches!(row.verdict, Verdict::Unknown | Verdict::NotJudged);
        if !rows.iter().any(judged) {
            return Err(NotComparable::nothing_to_judge());
        }
        if rows.iter().any(|row| row.interval.is_some() && row.a.n.min(row.b.n) < ENOUGH) {
            notes.push(format!(
                "intervals from fewer than {ENOUGH} repetitions are narrower than they should be"
            ));
        }
        Ok(Self { a, b, limit, rows, notes })
    }

    /// The number of rows with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

fn row<'a>(
    a: &Report,
    b: &Report,
    limit: f64,
    (metric, point, mode): (&'a Metric, Point, Mode),
) -> Option<Row<'a>> {
    let (before, after) = (a.values(&metric.name, point, mode), b.values(&metric.name, point, mode));
    let (a, b) = (Summary::of(&before)?, Summary::of(&after)?);
    let Change { share: change, interval } = Change::of(&before, &after);
    let verdict = verdict(metric.better, change, interval, limit);
    Some(Row { metric, point, mode, a, b, change, interval, verdict })
}

fn verdict(better: Better, change: Option<f64>, interval: Option<Interval>, limit: f64) -> Verdict {
    let (Some(change), Some(interval)) = (change, interval) else {
        return if better == Better::Neither { Verdict::NotJudged } else { Verdict::Unknown };
    };
    // From here on, more is worse.
    let (change, low, high) = match better {
        Better::Lower => (change, interval.low, interval.high),
        Better::Higher => (-change, -interval.high, -interval.low),
        Better::Neither => return Verdict::NotJudged,
    };
    if low > limit {
        Verdict::Regression
    } else if change > limit {
        Verdict::Suspect
    } else if low > 0.0 {
        Verdict::Worse
    } else if high < 0.0 {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::example;

    fn made(slower: f64, seed: u64) -> Report {
        example::report(document(slower, seed))
    }

    fn document(slower: f64, seed: u64) -> Document {
        example::Made { slower, seed, repetitions: 5, ..example::small() }.document()
    }

    fn verdicts(b: &Report, limit: f64, metric: &str, mode: Mode) -> Vec<Verdict> {
        let a = made(1.0, 1);
        let comparison = Comparison::new(&a, b, limit).unwrap();
        let rows = comparison.rows.iter().filter(|row| row.metric.name == metric && row.mode == mode);
        rows.map(|row| row.verdict).collect()
    }

    #[test]
    fn slower_by_more_than_the_limit_is_a_regression() {
        let b = made(1.3, 2);
        assert_eq!(verdicts(&b, 0.05, "seconds", Mode::Async), [Verdict::Regression; 2]);
        // Only async was made slower.
        let blocked = verdicts(&b, 0.05, "seconds", Mode::Blocked);
        assert!(!blocked.contains(&Verdict::Regression), "{blocked:?}");
    }

    #[test]
    fn slower_within_the_limit_is_shown_but_allowed() {
        assert_eq!(verdicts(&made(1.3, 2), 0.5, "seconds", Mode::Async), [Verdict::Worse; 2]);
    }

    #[test]
    fn faster_is_better_and_the_same_is_the_same() {
        assert_eq!(verdicts(&made(0.7, 2), 0.05, "seconds", Mode::Async), [Verdict::Better; 2]);
        assert_eq!(verdicts(&made(1.0, 1), 0.05, "seconds", Mode::Async), [Verdict::Same; 2]);
    }

    #[test]
    fn the_direction_of_a_metric_decides() {
        let interval = Some(Interval { low: -0.3, high: -0.2 });
        assert_eq!(verdict(Better::Lower, Some(-0.25), interval, 0.05), Verdict::Better);
        assert_eq!(verdict(Better::Higher, Some(-0.25), interval, 0.05), Verdict::Regression);
        assert_eq!(verdict(Better::Neither, Some(-0.25), interval, 0.05), Verdict::NotJudged);
    }

    #[test]
    fn an_interval_that_holds_the_limit_is_no_proof() {
        let interval = Some(Interval { low: 0.02, high: 0.3 });
        assert_eq!(verdict(Better::Lower, Some(0.1), interval, 0.05), Verdict::Suspect);
        assert_eq!(verdict(Better::Lower, Some(0.1), None, 0.05), Verdict::Unknown);
    }

    #[test]
    fn a_change_from_zero_is_not_a_share_of_anything() {
        let zero = |seed| {
            let mut document = document(1.0, seed);
            for sample in &mut document.samples {
                sample.metrics.insert("seconds".into(), 0.0);
            }
            example::report(document)
        };
        let (a, b) = (zero(1), made(1.0, 2));
        let comparison = Comparison::new(&a, &b, 0.05).unwrap();
        let of_seconds = comparison.rows.iter().filter(|row| row.metric.name == "seconds");
        assert!(of_seconds.clone().all(|row| row.verdict == Verdict::Unknown && row.change.is_none()));
        assert_eq!(of_seconds.count(), 6);
    }

    #[test]
    fn a_metric_that_is_the_same_everywhere_is_compared_once() {
        let constant = |seed| {
            let mut document = document(1.0, seed);
            for sample in &mut document.samples {
                sample.metrics.insert("seconds".into(), 1.0 + f64::from(sample.repetition));
            }
            example::report(document)
        };
        let (a, b) = (constant(1), constant(2));
        let comparison = Comparison::new(&a, &b, 0.05).unwrap();
        let of_seconds = comparison.rows.iter().filter(|row| row.metric.name == "seconds");
        assert_eq!(of_seconds.map(|row| row.a.n).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn too_few_repetitions_are_refused_rather_than_passed() {
        let few =
            |seed| example::report(example::Made { seed, repetitions: 2, ..example::small() }.document());
        let error = Comparison::new(&few(1), &few(2), 0.05).unwrap_err();
        assert!(error.to_string().contains("at least three repetitions"), "{error}");
    }
}
