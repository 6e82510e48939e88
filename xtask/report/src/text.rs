//! A report's summary for a terminal.

use std::fmt::Write as _;

use crate::distribution::Distribution;
use crate::document::{Better, Metric, Mode};
use crate::plot::curves::better;
use crate::plot::percentiles::{Line, groups};
use crate::points::Value;
use crate::stats::Summary;
use crate::terminal::{Look, Tone, bar, columns};
use crate::{Report, html, number};

/// Cells of the longest bar.
const BAR: usize = 24;
/// Columns of a histogram.
const COLUMNS: usize = 32;

/// The summary: claims, medians with bars, distributions at the last point of each panel.
pub fn summary(report: &Report, look: Look) -> String {
    let experiment = &report.experiment;
    let mut text = format!(
        "{}: {}\n{}\n",
        look.paint(Tone::Heading, &experiment.name),
        experiment.question,
        html::about(report)
    );
    for claim in &report.claims {
        let (word, tone) = if claim.holds { ("holds", Tone::Good) } else { ("FAILS", Tone::Bad) };
        let _ = write!(text, "\n  {}  {}\n         {}\n", look.paint(tone, word), claim.text, claim.measured);
    }
    for metric in report.varying().filter(|metric| metric.better != Better::Neither) {
        for panel in report.panels() {
            medians(&mut text, report, metric, panel, look);
        }
    }
    constants(&mut text, report, look);
    distributions(&mut text, report, look);
    text
}

fn heading(text: &mut String, look: Look, name: &str) {
    let _ = writeln!(text, "\n{}", look.paint(Tone::Heading, name));
}

fn medians(text: &mut String, report: &Report, metric: &Metric, panel: Option<Value>, look: Look) {
    let modes = report.modes_of(metric).named();
    let rows: Vec<(f64, (Mode, &str), Summary)> = report
        .points_of(panel)
        .flat_map(|point| modes.iter().map(move |&mode| (point, mode)))
        .filter_map(|(point, mode)| {
            Some((point.x.0, mode, Summary::of(&report.values(&metric.name, point, mode.0))?))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let place = match panel {
        Some(_) => format!(", {}", report.panel_title(panel)),
        None => String::new(),
    };
    heading(text, look, &format!("{}{}{place}", metric.label, better(metric.better)));
    let variable = &report.experiment.variable.label;
    let width = variable.chars().count().max(6);
    let names = modes.iter().map(|(_, name)| name.chars().count() + 2).fold(10, usize::max);
    let _ = writeln!(
        text,
        "  {variable:>width$}  {:<names$}{:>2$}  smallest to largest, n",
        "mode",
        "median",
        BAR + 10
    );
    let most = rows.iter().map(|(_, _, summary)| summary.median).fold(0.0, f64::max);
    let mut before = None;
    for (x, (mode, name), summary) in &rows {
        let x_text = if before == Some(x.to_bits()) { String::new() } else { number::exact(*x) };
        before = Some(x.to_bits());
        let share = if most > 0.0 { summary.median / most } else { 0.0 };
        let _ = writeln!(
            text,
            "  {x_text:>width$}  {name:<names$}{}{:>10}  {}",
            look.paint(Tone::Mode(*mode), &format!("{:<BAR$}", bar(share, BAR))),
            number::short(summary.median),
            spread(summary)
        );
    }
}

fn spread(summary: &Summary) -> String {
    match summary.n {
        1 => "1".into(),
        n => format!("{} to {}, {n}", number::short(summary.min), number::short(summary.max)),
    }
}

fn constants(text: &mut String, report: &Report, look: Look) {
    for metric in &report.experiment.metrics {
        let Some(values) = report.constant(metric) else { continue };
        heading(text, look, &metric.label);
        for (panel, summary) in
            values.iter().filter_map(|(panel, values)| Some((*panel, Summary::of(values)?)))
        {
            let (value, place) = (number::short(summary.median), report.panel_title(panel));
            let _ = writeln!(text, "  {value:<8}  {:<20}  {place}", spread(&summary));
        }
    }
}

fn distributions(text: &mut String, report: &Report, look: Look) {
    let points = report.telling_points();
    for panel in report.panels() {
        let Some(&last) = points.iter().rfind(|point| point.panel == panel) else { continue };
        for (name, lines) in groups(report, last) {
            heading(text, look, &format!("{name}: {}", report.place(last)));
            histograms(text, &lines, look);
        }
    }
}

/// Time on a logarithmic axis, one row a line.
fn histograms(text: &mut String, lines: &[Line], look: Look) {
    let (low, high) = lines.iter().fold((f64::INFINITY, 0.0f64), |(low, high), line| {
        (low.min(line.distribution.at(0.0)), high.max(line.distribution.max()))
    });
    // Nothing is left of a thousandth of a µs on a logarithmic axis.
    let low = low.max(1e-3);
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).max(7);
    for line in lines {
        let counts = counts(&line.distribution, low, high);
        let columns = format!("{:<COLUMNS$}", columns(&counts));
        let percentiles: Vec<String> =
            line.distribution.percentiles().iter().map(|(name, value)| format!("{name} {value}")).collect();
        let columns = look.paint(Tone::Mode(line.mode), &columns);
        let _ = writeln!(text, "  {:<width$}  {columns}  {}", line.name, percentiles.join("  "));
    }
    let (from, to) = (number::duration(low), number::duration(high));
    let between = COLUMNS.saturating_sub(from.chars().count());
    let _ = writeln!(text, "  {:width$}  {from}{to:>between$}", "");
}

fn counts(distribution: &Distribution, low: f64, high: f64) -> Vec<u64> {
    let mut counts = vec![0; COLUMNS];
    let total = distribution.count() as f64;
    let mut before = 0.0;
    for (share, value) in distribution.cumulative() {
        let along = if high > low { (value.max(low) / low).ln() / (high / low).ln() } else { 0.0 };
        let column = ((along * COLUMNS as f64) as usize).min(COLUMNS - 1);
        counts[column] += ((share - before) * total).round() as u64;
        before = share;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn the_summary_holds_claims_medians_and_distributions() {
        let text = summary(&example::report(example::small().document()), Look::Plain);
        for part in [
            "overlap: How long",
            "  holds  64 tasks",
            "  FAILS  one task",
            "time to read all pages in s (less is better), page latency in ms: 10",
            "read: tasks that read: 32",
            "p99 ",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        // The longest bar is that of the largest median, and nothing is wider than a terminal.
        assert!(text.contains(&"█".repeat(BAR)), "{text}");
        assert!(text.lines().filter(|line| line.contains('█')).all(|line| line.chars().count() <= 130));
    }

    #[test]
    fn every_duration_is_in_a_column() {
        let report = example::report(example::small().document());
        let point = report.telling_points()[0];
        let all = report.distributions(point, Mode::Blocked);
        let read = &all["read"];
        let counts = counts(read, read.at(0.0), read.max());
        assert_eq!(counts.iter().sum::<u64>(), read.count());
        assert!(counts[0] > 0 && counts[COLUMNS - 1] > 0, "{counts:?}");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(summary(&example::report(example::small().document()), Look::Coloured).contains('\u{1b}'));
    }
}
