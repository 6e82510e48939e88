//! A report as a part of a Markdown page: medians with spread of its first metric, and claims.

use std::fmt::Write as _;

use crate::document::{Better, Metric};
use crate::number;
use crate::report::Report;
use crate::stats::Summary;

/// Writes a report's section: question, a table of its most important metric that varies, metrics
/// that do not, claims.
pub fn section(report: &Report, heading: &str) -> String {
    let experiment = &report.experiment;
    let mut text = format!("{heading} {}\n\n{}\n", escaped(&experiment.name), escaped(&experiment.question));
    if let Some(metric) = report.varying().find(|metric| metric.better != Better::Neither) {
        table(&mut text, report, metric);
    }
    for metric in &experiment.metrics {
        let Some(panels) = report.constant(metric) else { continue };
        let values: Vec<f64> = panels.values().flatten().copied().collect();
        if let Some(summary) = Summary::of(&values) {
            let _ = write!(text, "\n{}: {}\n", escaped(&metric.label), cell(&summary));
        }
    }
    if !report.claims.is_empty() {
        text.push('\n');
    }
    for claim in &report.claims {
        let verdict = if claim.holds { "holds" } else { "**fails**" };
        let _ = writeln!(text, "- {verdict}: {} ({})", escaped(&claim.text), escaped(&claim.measured));
    }
    text
}

fn table(text: &mut String, report: &Report, metric: &Metric) {
    let modes = report.modes_of(metric).named();
    let names: Vec<_> = modes.iter().map(|(_, name)| *name).collect();
    let _ = write!(
        text,
        "\n| {} | {} |\n|---|{}\n",
        escaped(&metric.label),
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for point in report.points() {
        let cells = modes.iter().map(|&(mode, _)| {
            Summary::of(&report.values(&metric.name, point, mode)).map_or(String::new(), |it| cell(&it))
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(text, "| {} | {} |", escaped(&report.place(point)), cells.join(" | "));
    }
}

/// "5.31 (5.20 to 5.60)".
fn cell(summary: &Summary) -> String {
    let [median, min, max] = [summary.median, summary.min, summary.max].map(number::short);
    if summary.n > 1 { format!("{median} ({min} to {max})") } else { median }
}

/// Text that is no Markdown and no HTML.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if "\\`*_{}[]<>#|&".contains(c) {
            escaped.push('\\');
        }
        escaped.push(if c.is_control() { ' ' } else { c });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn a_section_has_medians_spreads_and_claims() {
        let mut document = example::small().document();
        document.experiment.name = "over<b>|lap".into();
        for sample in &mut document.samples {
            sample.metrics.insert("computing_kept_percent".into(), 7.0 + f64::from(sample.repetition));
        }
        let text = section(&example::report(document.clone()), "###");
        assert!(text.starts_with("### over\\<b\\>\\|lap\n\n"), "{text}");
        // Two points, three modes, three repetitions.
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| tasks that read: ")).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows.iter().all(|row| row.matches(" (").count() == 3), "{text}");
        assert!(text.contains("8.00 (7.00 to 9.00)"), "{text}");
        let claims =
            text.lines().filter(|line| line.starts_with("- holds") || line.starts_with("- **fails**"));
        assert_eq!(claims.count(), document.claims.len());
        assert!(!document.claims.is_empty());
    }
}
