//! The time that each stage of a fault takes, one after the other.

use plotters::style::text_anchor::{HPos, VPos};

use super::Size;
use super::axis::Axis;
use super::frame::{Outline, picture, px};
use super::ink::Ink;
use crate::Report;
use crate::distribution::Distributions;
use crate::document::Mode;
use crate::number;
use crate::points::Point;

/// The stages in their order.
pub const STAGES: [&str; 4] =
    ["fault → parked", "parked → ready (host)", "ready → service", "service → running"];

/// Height of a bar with a line of text above it, in CSS pixels, and of one more line.
const ROW: i32 = 38;
const LINE: i32 = 15;

/// Means of the stages of one kind of wait, in µs. Means, since medians do not add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// "async schedule"
    pub kind: String,
    /// "tasks that read: 64"
    pub place: String,
    /// As [`STAGES`].
    pub means: [f64; 4],
    /// Number of waits.
    pub count: u64,
}

/// "schedule" and "host" of "schedule host", if it is a stage of a wait.
pub fn wait_and_stage(name: &str) -> Option<(&str, &str)> {
    let (wait, stage) = name.split_once(' ')?;
    let known = ["fault→parked", "host", "ready→service", "ready→running", "total"];
    (["schedule", "halt"].contains(&wait) && known.contains(&stage)).then_some((wait, stage))
}

/// A row for each kind of wait in each mode at these points.
pub fn rows(report: &Report, points: &[Point]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &point in points {
        for &mode in report.modes() {
            let all = report.distributions(point, mode);
            for wait in ["schedule", "halt"] {
                rows.extend(row(report.place(point), &all, mode, wait));
            }
        }
    }
    rows
}

fn row(place: String, all: &Distributions, mode: Mode, wait: &str) -> Option<Row> {
    let of = |stage: &str| all.get(&format!("{wait} {stage}")).map(|stage| stage.mean());
    let (parked, host) = (of("fault→parked")?, of("host")?);
    let (service, running) = (of("ready→service")?, of("ready→running")?);
    let kind = if mode.name() == wait { wait.to_owned() } else { format!("{} {wait}", mode.name()) };
    Some(Row {
        kind,
        place,
        // Where ready events come before their waiters sleep, the waiters count as parked until
        // then: all stages together are the whole.
        means: [parked.min(host), host - parked.min(host), service, (running - service).max(0.0)],
        count: all.get(&format!("{wait} total"))?.count(),
    })
}

/// A bar for each row.
pub fn draw(rows: &[Row], size: Size) -> String {
    let longest = rows.iter().map(|row| row.means.iter().sum()).fold(0.0, f64::max);
    let (unit, scale) = super::unit(longest);
    let count = rows.len() as i32;
    let lines = |row: &Row| match size {
        Size::Wide => vec![format!("{}, {}", row.kind, row.place)],
        Size::Narrow => vec![row.kind.clone(), row.place.clone()],
    };
    let height = if size == Size::Wide { ROW } else { ROW + LINE };
    let total = |row: &Row| number::duration(row.means.iter().sum());
    let outline = Outline {
        size,
        height: Some((50 + height * count).unsigned_abs()),
        label: "mean time of each stage of a fault".into(),
        x: (Axis::until(longest / scale), format!("mean time since the fault, in {unit}")),
        y: (Axis::rows(f64::from(count)), String::new()),
        names: rows.iter().map(total).collect(),
    };
    picture(outline, |frame| {
        for (i, row) in (0..count).zip(rows) {
            let (left, top) = frame.at(0.0, f64::from(count - i));
            let mut top = top + px(4);
            for line in lines(row) {
                frame.text(&line, (left + px(2), top), Ink::Text, (HPos::Left, VPos::Top))?;
                top += px(LINE);
            }
            let (top, bottom) = (top + px(1), top + px(15));
            let mut from = 0.0;
            for (stage, mean) in (0..).zip(row.means) {
                let to = from + mean / scale;
                frame.bar((frame.at(from, 0.0).0, top), (frame.at(to, 0.0).0, bottom), Ink::Stage(stage))?;
                from = to;
            }
            frame.name((frame.ends().1, i32::midpoint(top, bottom)), &total(row), Ink::Text);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn stages_add_up_to_the_total() {
        let report = example::report(example::overlap(1));
        let points: Vec<Point> = report.points().collect();
        let rows = rows(&report, &points[8..9]);
        let kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
        assert_eq!(kinds, ["halt", "async schedule"]);
        assert_eq!(rows[0].place, "tasks that read: 1, page latency in ms: 10");
        for row in &rows {
            let total: f64 = row.means.iter().sum();
            // As made up: the page's latency, and 160 µs until it runs, both skewed by a third.
            assert!((10_160.0..16_000.0).contains(&total), "{row:?}");
            assert!(row.means.iter().all(|mean| *mean >= 0.0), "{row:?}");
            assert_eq!(row.count, 5 * 512);
        }
        let svg = draw(&rows, Size::Wide);
        assert_eq!(svg.matches("class=\"fill-stage1\"").count(), 2);
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn stages_are_the_whole_even_where_ready_events_come_before_waiters_sleep() {
        let mut document = example::small().document();
        let late = |name: &str| Some(50_000_000).filter(|_| name.ends_with("fault→parked"));
        for histogram in document.samples.iter_mut().flat_map(|sample| &mut sample.histograms) {
            if let Some(cycles) = late(&histogram.name) {
                histogram.buckets = vec![(cycles, 64)];
            }
        }
        let report = example::report(document);
        let point = report.telling_points()[0];
        for row in rows(&report, &[point]) {
            let mode = if row.kind == "halt" { Mode::Halt } else { Mode::Async };
            let all = report.distributions(point, mode);
            let wait = row.kind.split(' ').next_back().unwrap();
            let of = |stage: &str| all[&format!("{wait} {stage}")].mean();
            let (total, whole): (f64, f64) = (row.means.iter().sum(), of("host") + of("ready→running"));
            assert!((total - whole).abs() < 1e-6 * whole, "{row:?}, {whole} µs in all");
        }
    }

    #[test]
    fn only_stages_of_waits_are_stages() {
        assert_eq!(wait_and_stage("halt ready→running"), Some(("halt", "ready→running")));
        assert_eq!(wait_and_stage("request"), None);
        assert_eq!(wait_and_stage("schedule something"), None);
    }
}
