//! A short summary of a report with one point.

use crate::distribution::Distribution;
use crate::document::{Better, Metric, Mode, Sample};
use crate::html;
use crate::number;
use crate::points::Point;
use crate::report::Report;
use crate::stats::Summary;

/// Cells of a row's name, and of a figure.
const NAME: usize = 46;
const FIGURE: usize = 14;

impl Report {
    /// Returns metrics by mode, pages, counts and latencies at the document's point; `None` if it
    /// has several points.
    pub fn brief(&self) -> Option<String> {
        let parameters = &self.samples.first()?.parameters;
        if self.samples.iter().any(|sample| sample.parameters != *parameters) {
            return None;
        }
        let point = self.point(self.samples.first()?);
        let mut set: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name} {}", number::exact(*value))).collect();
        if !self.setting.page_latency.starts_with("the parameter") {
            set.push(format!("page-ins {}", self.setting.page_latency));
        }
        if self.setting.evict != "all" {
            set.push(format!("evictions {}", self.setting.evict));
        }
        let mut modes: Vec<_> = self.modes().iter().rev().copied().collect();
        modes.sort_by_key(|&mode| mode == self.experiment.baseline);
        let names: Vec<_> = modes.iter().map(|mode| mode.name().to_owned()).collect();
        let mut lines = vec![html::about(self), format!("At {}:", set.join(", ")), String::new()];
        lines.push(row("", &names, ""));
        lines.extend(self.experiment.metrics.iter().map(|metric| self.metric_row(metric, point, &modes)));
        lines.push(self.pages_row(&modes));
        if modes.contains(&Mode::Async) {
            lines.push(String::new());
            lines.extend(self.accounts());
            lines.push(String::new());
            lines.extend(self.latencies(point));
        }
        Some(lines.join("\n"))
    }

    fn metric_row(&self, metric: &Metric, point: Point, modes: &[Mode]) -> String {
        let median =
            |mode| Summary::of(&self.values(&metric.name, point, mode)).map(|summary| summary.median);
        let is_share = metric.label.starts_with("share");
        let figure = |value| if is_share { number::percent(value) } else { number::short(value) };
        let figures: Vec<_> = modes.iter().map(|&mode| median(mode).map_or(String::new(), figure)).collect();
        let gain = match (metric.better, median(self.experiment.baseline), median(Mode::Async)) {
            (Better::Lower, Some(baseline), Some(asynchronous)) if baseline > asynchronous => {
                let is_time = [" in s", " in ms"].iter().any(|unit| metric.label.contains(unit));
                let word = if is_time { "faster" } else { "less" };
                format!("{:.1} times {word}", baseline / asynchronous)
            }
            _ => String::new(),
        };
        row(&metric.label, &figures, &gain)
    }

    fn pages_row(&self, modes: &[Mode]) -> String {
        let wrong = |&mode| number::grouped(self.sum(mode, "wrong_pages").unwrap_or(0) as f64);
        let figures: Vec<_> = modes.iter().map(wrong).collect();
        let sum = |of: fn(&crate::document::Boot) -> u64| {
            number::grouped(self.boots.iter().map(of).sum::<u64>() as f64)
        };
        let all = format!(
            "{} of {} compared byte for byte at the end",
            sum(|boot| boot.wrong_pages),
            sum(|boot| boot.compared_pages)
        );
        row("wrong pages", &figures, &all)
    }

    /// Sum of a count over the samples of a mode; `None` if one does not have it.
    pub(crate) fn sum(&self, mode: Mode, name: &str) -> Option<u64> {
        let of_mode = self.samples.iter().filter(|sample| sample.mode == mode);
        of_mode.map(|sample: &Sample| sample.counts.get(name).copied()).sum()
    }

    /// The service's counts beside those of the host's trace.
    fn accounts(&self) -> [String; 4] {
        let count = |name: &str| {
            let sum = self.sum(Mode::Async, name);
            sum.map_or("not accessible".into(), |sum| number::grouped(sum as f64))
        };
        let most = self.boots.iter().map(|boot| boot.most_outstanding).max().unwrap_or(0);
        [
            format!(
                "  not present   {} in the guest ({} schedule + {} halt waits), {} in the host's trace",
                count("not_present"),
                count("schedule_waits"),
                count("halt_waits"),
                count("host_not_present")
            ),
            format!(
                "  outstanding   at most {most} at once; {} faults beyond the host's limit stopped a core",
                count("host_synchronous")
            ),
            format!(
                "  repeated      {} second touches of a page under way stopped a core",
                count("host_repeated")
            ),
            format!(
                "  ready         {} in the guest, {} in the host's trace",
                count("ready"),
                count("host_ready")
            ),
        ]
    }

    fn latencies(&self, point: Point) -> Vec<String> {
        let line = |name: &str, columns: [String; 5]| {
            let columns = columns.map(|column| format!("{column:>11}"));
            format!("  {name:<24}{}", columns.concat())
        };
        let names = ["count", "p50", "p99", "p99.9", "max"].map(str::to_owned);
        let of = |(name, of): (String, Distribution)| {
            let us = [of.at(0.5), of.at(0.99), of.at(0.999), of.max()].map(|us| format!("{us:.1}"));
            let [p50, p99, p999, max] = us;
            line(&name, [number::grouped(of.count() as f64), p50, p99, p999, max])
        };
        let distributions = self.distributions(point, Mode::Async).into_iter().map(of);
        [line("latency in µs, async", names)].into_iter().chain(distributions).collect()
    }
}

fn row(name: &str, figures: &[String], note: &str) -> String {
    let figures: String = figures.iter().map(|figure| format!("{figure:>FIGURE$}")).collect();
    format!("  {name:<NAME$}{figures}   {note}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::document::Mode;
    use crate::example;

    #[test]
    fn a_brief_has_metrics_pages_counts_and_latencies() {
        let mut made = example::small();
        made.tasks = vec![32];
        let mut document = made.document();
        document.experiment.metrics[1].label = "share of its work that a computing task keeps".into();
        for sample in document.samples.iter_mut().filter(|sample| sample.mode == Mode::Async) {
            let counts = [("not_present", 500), ("schedule_waits", 480), ("halt_waits", 20), ("ready", 500)];
            sample.counts = counts.map(|(name, count)| (name.to_owned(), count)).into();
            for (name, count) in [("not_present", 500), ("untold_pages", 4), ("served_pages", 504)] {
                sample.counts.insert(format!("host_{name}"), count);
            }
            sample.metrics.insert("computing_kept_percent".into(), 0.1704);
        }
        let text = example::report(document).brief().unwrap();
        for part in [
            "At page_latency_ms 10, pages 64, tasks 32, page-ins 20ms:",
            "async          halt       blocked",
            "17.04 %",
            "times faster",
            "0 of 4,096 compared byte for byte",
            "not present   1,500 in the guest (1,440 schedule + 60 halt waits), 1,500 in the host's trace",
            "The guest was not told of 12 of 1,512 page-ins",
            "at most 64 at once; not accessible faults",
            "p99.9",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_document_with_several_points_has_no_brief() {
        assert_eq!(example::report(example::small().document()).brief(), None);
    }
}
