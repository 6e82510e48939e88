//! Distributions overlaid: durations by the share that took no longer.

use super::Size;
use super::axis::Axis;
use super::frame::{Outline, picture};
use super::ink::Ink;
use crate::Report;
use crate::distribution::Distribution;
use crate::document::Mode;
use crate::points::Point;

/// Times further apart than this factor need a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 6.0;

/// Smallest share that is drawn: a single early value must not take half of the picture.
const LEAST: f64 = 0.005;

/// One of the lines of a picture.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its mode.
    pub mode: Mode,
    /// It is drawn as a mode's second line.
    pub second: bool,
    /// Its name.
    pub name: String,
    /// Its values.
    pub distribution: Distribution,
}

/// Names and lines of a point's pictures: each distribution in all modes that have it. Of a fault's
/// stages only the totals; the others have pictures of their own.
pub fn groups(report: &Report, point: Point) -> Vec<(String, Vec<Line>)> {
    let mut groups: Vec<(String, Vec<Line>)> = Vec::new();
    for &mode in report.modes() {
        for (name, distribution) in report.distributions(point, mode) {
            let (group, line, second) = match super::stages::wait_and_stage(&name) {
                Some((wait, "total")) => {
                    let line =
                        if wait == mode.name() { wait.to_owned() } else { format!("{} {wait}", mode.name()) };
                    (
                        "faults, from #PF to running again".to_owned(),
                        line,
                        mode == Mode::Async && wait == "halt",
                    )
                }
                Some(_) => continue,
                None => (name, mode.name().to_owned(), false),
            };
            let line = Line { mode, second, name: line, distribution };
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, lines)) => lines.push(line),
                None => groups.push((group, vec![line])),
            }
        }
    }
    // Pictures with lines of every mode come first.
    groups.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.len()));
    groups
}

/// Draws one of them.
pub fn draw(name: &str, lines: &[Line], size: Size) -> String {
    let count = lines.iter().map(|line| line.distribution.count()).max().unwrap_or(1);
    let (unit, scale) = unit(lines);
    let (low, high) = lines.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), line| {
        (low.min(line.distribution.at(LEAST)), high.max(line.distribution.max()))
    });
    let (low, high) = (low / scale, high / scale);
    let y = if low > 0.0 && high > low * LOGARITHMIC_FROM {
        Axis::log(low, high)
    } else {
        Axis::linear(0.0, high)
    };
    let outline = Outline {
        size,
        height: None,
        label: format!("{name}: time by percentile"),
        x: (Axis::percentiles(count), "percentile".into()),
        y: (y, format!("{name}, in {unit}")),
        names: lines.iter().map(|line| line.name.clone()).collect(),
    };
    picture(outline, |frame| {
        let (_, right, ..) = frame.ends();
        for line in lines {
            let ink = if line.second { Ink::Second(line.mode) } else { Ink::Mode(line.mode) };
            // A step for each value: nothing was seen between two of them.
            let mut from = 0.0;
            let mut places = Vec::new();
            for (share, value) in line.distribution.cumulative() {
                let value = value.max(low * scale);
                let to = if share < 1.0 { frame.at(share, value / scale).0.min(right) } else { right };
                let (x, y) = frame.at(from, value / scale);
                places.extend([(x.min(right), y), (to, y)]);
                from = share.min(1.0 - 1e-9);
            }
            places.dedup();
            if let Some(last) = places.last() {
                frame.name(*last, &line.name, ink);
            }
            frame.path(places, ink, 2.0)?;
        }
        Ok(())
    })
}

/// The unit in which most values are neither large nor small, and its µs.
fn unit(lines: &[Line]) -> (&'static str, f64) {
    let most = lines.iter().map(|line| line.distribution.at(0.9)).fold(0.0, f64::max);
    super::unit(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn modes_are_overlaid_and_pictures_of_all_modes_come_first() {
        let report = example::report(example::overlap(1));
        let point = report.points().last().unwrap();
        let groups = groups(&report, point);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|(_, lines)| lines.iter().map(|line| line.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["blocked", "halt", "async"], vec!["halt", "async schedule"]]);
        for (name, lines) in &groups {
            let svg = draw(name, lines, Size::Narrow);
            assert!(svg.contains(">99.9</text>") && svg.contains("in ms</text>"), "{svg}");
            assert!(lines.iter().all(|line| svg.contains(&format!(">{}</text>", line.name))), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
