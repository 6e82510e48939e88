//! `.hgrm`: the percentiles of a distribution as HdrHistogram's own tools print and plot them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::Report;
use crate::distribution::Distribution;
use crate::document::Mode;
use crate::points::Point;

/// Lines for each halving of what is left up to 100 %, as in HdrHistogram's default.
const TICKS: u32 = 5;

/// Names and texts of the files, one for each distribution at each point in each mode.
pub fn files(report: &Report) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    for point in report.points() {
        for &mode in report.modes() {
            for (name, distribution) in report.distributions(point, mode) {
                let stem = file_stem(report, point, mode, &name);
                let numbered = (2..).map(|number| format!("{stem}-{number}.hgrm"));
                let mut free = std::iter::once(format!("{stem}.hgrm")).chain(numbered);
                let name = free.find(|name| names.insert(name.clone())).unwrap_or_default();
                files.push((name, text(&distribution)));
            }
        }
    }
    files
}

/// `tasks=32,page_latency_ms=10,async,schedule-total`
fn file_stem(report: &Report, point: Point, mode: Mode, name: &str) -> String {
    let experiment = &report.experiment;
    let mut parts = vec![format!("{}={}", experiment.variable.name, point.x.0)];
    if let (Some(panel), Some(value)) = (&experiment.panel, point.panel) {
        parts.push(format!("{}={}", panel.name, value.0));
    }
    parts.extend([mode.name().to_owned(), name.replace('→', "-to-").replace(' ', "-")]);
    let safe = |c: char| if c.is_ascii_alphanumeric() || "=,.-_".contains(c) { c } else { '_' };
    parts.join(",").chars().map(safe).collect()
}

/// The file's text, in µs.
fn text(distribution: &Distribution) -> String {
    let (raw, per_us) = distribution.raw();
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for step in raw.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let value = raw.lowest_equivalent(step.value_iterated_to()) as f64 / per_us;
        let share = step.quantile_iterated_to();
        let _ = write!(text, "{value:12.3} {share:2.12} {count:10}");
        if share < 1.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - share));
        }
        text.push('\n');
    }
    let (mean, deviation) = (raw.mean() / per_us, raw.stdev() / per_us);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(
        text,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        distribution.max(),
        distribution.count()
    );
    // Three digits make 2048 steps in the first of the buckets.
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", raw.buckets(), 2048);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Histogram;
    use crate::example;

    #[test]
    fn the_layout_is_hdrhistograms() {
        let buckets = vec![(1_000, 500), (2_000, 400), (4_000, 99), (1_000_000, 1)];
        let histogram = Histogram { name: "x".into(), per_us: 1000.0, buckets };
        let text = text(&Distribution::of(&[histogram]).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "       1.000 0.000000000000        500           1.00");
        let rows: Vec<Vec<f64>> = lines[2..]
            .iter()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
        let (last, others) = rows.split_last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!((last[0] - 1000.0).abs() < 1.0, "{text}");
        for row in others {
            assert!((row[3] - 1.0 / (1.0 - row[1])).abs() <= 0.005 + row[3] * 1e-6, "{text}");
        }
        assert!(lines[lines.len() - 3].starts_with("#[Mean    =        2."), "{text}");
        assert_eq!(lines[lines.len() - 2], "#[Max     =      999.936, Total count    =         1000]");
        assert!(lines[lines.len() - 1].starts_with("#[Buckets = "), "{text}");
    }

    #[test]
    fn every_distribution_has_a_file_of_its_own() {
        let files = files(&example::report(example::small().document()));
        // Two points: one distribution blocked, six each for halt and async.
        assert_eq!(files.len(), 2 * (1 + 6 + 6));
        let mut names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(
            names.contains(&"tasks=32,page_latency_ms=10,async,schedule-fault-to-parked.hgrm"),
            "{names:?}"
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), files.len());
    }
}
