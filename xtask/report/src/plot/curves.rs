//! A metric along the independent variable: medians, spread, and references.

use super::Size;
use super::axis::Axis;
use super::frame::{Drawn, Frame, Outline, picture, px};
use super::ink::{Ink, REFERENCES};
use crate::Report;
use crate::document::{Better, Metric, Mode, Reference};
use crate::number;
use crate::points::{Point, Value};
use crate::report::{Curve, Modes};

/// Factor by which an axis goes beyond the measured values to show a reference.
const BEYOND: f64 = 3.0;

/// A curve in the picture.
struct Line {
    mode: Mode,
    name: &'static str,
    ink: Ink,
    curve: Curve,
}

/// The picture of a metric in a panel; `None` if nothing was measured there.
pub fn draw(report: &Report, metric: &Metric, panel: Option<Value>, size: Size) -> Option<String> {
    let modes = report.modes_of(metric);
    let of_mode = |(mode, name)| {
        let ink = if matches!(modes, Modes::All(_)) { Ink::Text } else { Ink::Mode(mode) };
        Line { mode, name, ink, curve: report.curve(&metric.name, panel, mode) }
    };
    let lines: Vec<Line> =
        modes.named().into_iter().map(of_mode).filter(|line| !line.curve.is_empty()).collect();
    let references = references(report, metric, panel);
    let xs: Vec<f64> = lines.iter().flat_map(|line| line.curve.iter().map(|(x, _)| *x)).collect();
    if xs.is_empty() {
        return None;
    }
    let names = lines.iter().map(|line| line.name.to_owned());
    let outline = Outline {
        size,
        height: None,
        label: format!("{} along {}", metric.label, report.experiment.variable.label),
        x: (Axis::variable(&xs), report.experiment.variable.label.clone()),
        y: (axis(metric, &lines, &references), format!("{}{}", metric.label, better(metric.better))),
        names: names.chain(references.iter().map(|held| short_name(held.reference) + " ↓")).collect(),
    };
    Some(picture(outline, |frame| {
        for Held { number, reference, values } in &references {
            let visible = frame.line(values, Ink::Reference(*number), 1.5)?;
            let end = values.last().copied().unwrap_or_default();
            if let Some(place) = visible.last() {
                let name = short_name(reference) + frame.beyond(end);
                frame.name(*place, &name, Ink::Reference(*number));
            }
        }
        let count = lines.len();
        lines.iter().enumerate().try_for_each(|(i, line)| draw_line(frame, line, (i, count)))
    }))
}

/// Words beside a metric's name.
pub const fn better(better: Better) -> &'static str {
    match better {
        Better::Lower => " (less is better)",
        Better::Higher => " (more is better)",
        Better::Neither => "",
    }
}

/// A reference as far as it belongs to a panel.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// The number of its ink.
    pub number: u8,
    /// The reference.
    pub reference: &'a Reference,
    /// Its points.
    pub values: Vec<(f64, f64)>,
}

/// The references to a metric that have points in a panel.
pub fn references<'a>(report: &'a Report, metric: &'a Metric, panel: Option<Value>) -> Vec<Held<'a>> {
    let values = |(point, value): (&Point, &f64)| (point.x.0, *value);
    (0..REFERENCES)
        .cycle()
        .zip(report.references_of(metric))
        .map(|(number, (reference, points))| Held {
            number,
            reference,
            values: points.range(Point::all_of(panel)).map(values).collect(),
        })
        .filter(|held| !held.values.is_empty())
        .collect()
}

/// "ideal" of "ideal: P·L / min(T, 64)", and no longer than a plot can spare; the whole stands
/// beneath the picture.
pub fn short_name(reference: &Reference) -> String {
    const LONGEST: usize = 14;
    let name = reference.label.split(':').next().unwrap_or_default().trim();
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let mut short = String::new();
    for word in name.split_whitespace() {
        if !short.is_empty() && short.chars().count() + word.chars().count() >= LONGEST {
            break;
        }
        short.push_str(if short.is_empty() { "" } else { " " });
        short.push_str(word);
    }
    short + "…"
}

fn axis(metric: &Metric, lines: &[Line], references: &[Held<'_>]) -> Axis {
    let measured = lines.iter().flat_map(|line| line.curve.iter());
    let (low, high) = measured.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, summary)| {
        (low.min(summary.min), high.max(summary.max))
    });
    let held = references.iter().flat_map(|held| held.values.iter().map(|(_, value)| *value));
    let (low, high) = held
        .fold((low, high), |(l, h), value| (l.min(value.max(low / BEYOND)), h.max(value.min(high * BEYOND))));
    match metric.better {
        Better::Lower => Axis::measured(low, high),
        // Small values of a share or a throughput matter least.
        _ => Axis::linear(low, high),
    }
}

fn draw_line(frame: &mut Frame<'_>, line: &Line, (i, count): (usize, usize)) -> Drawn {
    let Line { mode, name, ink, curve } = line;
    // Beside each other, so that bars of equal height do not hide each other.
    let aside = (2 * i as i32 - (count as i32 - 1)) * px(2);
    let place = |frame: &Frame<'_>, x: f64, y: f64| {
        let (x, y) = frame.at(x, y);
        (x + aside, y)
    };
    let medians: Vec<_> = curve.iter().map(|(x, summary)| place(frame, *x, summary.median)).collect();
    if let Some(last) = medians.last() {
        frame.name(*last, name, *ink);
    }
    frame.path(medians.clone(), *ink, 2.0)?;
    for ((x, summary), median) in curve.iter().zip(medians) {
        let (low, high) = (place(frame, *x, summary.min), place(frame, *x, summary.max));
        frame.path(vec![low, high], *ink, 1.2)?;
        for (x, y) in [low, high] {
            frame.path(vec![(x - px(3), y), (x + px(3), y)], *ink, 1.2)?;
        }
        frame.mark(median, *mode, *ink)?;
        let (middle, min, max) =
            (number::short(summary.median), number::short(summary.min), number::short(summary.max));
        frame.hint(
            median,
            format!("{name} at {}: {middle} ({min} to {max}, n {})", number::exact(*x), summary.n),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn every_mode_and_reference_is_drawn_and_named() {
        let report = example::report(example::overlap(1));
        let metric = &report.experiment.metrics[0];
        for size in [Size::Wide, Size::Narrow] {
            let svg = draw(&report, metric, Some(Value(10.0)), size).unwrap();
            for name in ["blocked<", "halt<", "async<", "ideal ↓<", "attainable<"] {
                assert!(svg.contains(&format!(">{name}")), "{name} in {svg}");
            }
            // Eight points in three modes: a mark at each.
            assert_eq!(svg.matches("class=\"fill-async\"").count(), 8 + 1);
            assert_eq!(svg.matches("<title>").count(), 3 * 8);
            assert!(svg.contains("<title>async at 1: "), "{svg}");
            assert_eq!(svg.matches("class=\"fill-halt\"").count(), 8 + 1);
            assert!(
                svg.contains(">tasks that read</text>") && svg.contains("time to read all pages in s (less")
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_the_plot() {
        let name = |label: &str| {
            short_name(&Reference { metric: String::new(), label: label.into(), points: Vec::new() })
        };
        assert_eq!(name("ideal: P·L / min(T, 64)"), "ideal");
        assert_eq!(name("what the cost of the async faults leaves: 1 − c"), "what the cost…");
    }

    #[test]
    fn an_axis_does_not_follow_a_reference_for_ever() {
        let report = example::report(example::overlap(1));
        let metric = &report.experiment.metrics[0];
        // Ideally 8 ms, measured about a second: the axis must not begin at 8 ms.
        let svg = draw(&report, metric, Some(Value(1.0)), Size::Wide).unwrap();
        assert!(!svg.contains(">0.01</text>"), "{svg}");
    }

    #[test]
    fn a_metric_that_nobody_measured_has_no_picture() {
        let mut document = example::small().document();
        for sample in &mut document.samples {
            sample.metrics.remove("seconds");
        }
        let report = example::report(document);
        assert_eq!(draw(&report, &report.experiment.metrics[0], Some(Value(10.0)), Size::Wide), None);
    }
}
