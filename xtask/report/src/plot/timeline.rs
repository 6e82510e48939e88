//! Faults outstanding over time.

use super::Size;
use super::axis::Axis;
use super::frame::{Outline, picture, px};
use super::ink::Ink;
use crate::Report;
use crate::document::Sample;
use crate::lives::{Life, outstanding};

/// Faults that the host takes of each core before it stops the core.
const LIMIT: u32 = 64;

/// Steps that a picture can show; of more, means are drawn.
const COLUMNS: usize = 300;

/// Returns whether there are more steps than a picture can show.
pub fn is_dense(sample: &Sample) -> bool {
    outstanding(&sample.faults).len() > 2 * COLUMNS
}

/// The picture of a sample; `None` if no single fault was recorded.
pub fn draw(report: &Report, sample: &Sample, size: Size) -> Option<String> {
    let steps = outstanding(&sample.faults);
    let (first, _) = *steps.first()?;
    let last = sample.faults.iter().map(|fault| Life::of(fault).running).max()?;
    let most = steps.iter().map(|(_, count)| *count).max()?;
    let us = |cycles: u64| cycles as f64 / f64::from(report.setting.tsc_mhz);
    let (unit, scale) = super::unit(us(last - first));
    let limit = LIMIT.saturating_mul(report.setting.cores);
    let shown = most >= limit / 2;
    let outline = Outline {
        size,
        height: Some(if size == Size::Wide { 260 } else { 220 }),
        label: "faults outstanding over time".into(),
        x: (Axis::until(us(last - first) / scale), format!("{unit} since the first fault")),
        y: (
            Axis::counts(if shown { most.max(limit) } else { most }),
            "faults that the host has not answered yet".into(),
        ),
        names: if shown { vec!["host's limit".into()] } else { vec![] },
    };
    let places: Vec<(f64, u32)> =
        steps.iter().map(|&(time, count)| (us(time - first) / scale, count)).collect();
    let end = us(last - first) / scale;
    Some(picture(outline, |frame| {
        let (left, right, _, bottom) = frame.ends();
        let mut surface = vec![(left, bottom)];
        let mut line = Vec::new();
        if is_dense(sample) {
            let width = end / COLUMNS as f64;
            for (i, (mean, most)) in columns(&places, end).into_iter().enumerate() {
                let (from, to) = (width * i as f64, width * (i + 1) as f64);
                surface.extend([frame.at(from, most.into()), frame.at(to, most.into())]);
                line.push(frame.at(width * (i as f64 + 0.5), mean));
            }
        } else {
            let mut before = 0.0;
            for &(x, count) in &places {
                line.extend([frame.at(x, before), frame.at(x, count.into())]);
                before = count.into();
            }
            surface.extend(&line);
        }
        let (end, _) = surface.last().copied().unwrap_or_default();
        surface.push((end, bottom));
        frame.surface(surface, Ink::Shade(sample.mode))?;
        frame.path(line, Ink::Mode(sample.mode), 1.2)?;
        if shown {
            let (_, y) = frame.at(0.0, limit.into());
            frame.path(vec![(left, y), (right + px(6), y)], Ink::Reference(0), 1.5)?;
            frame.name((right, y), "host's limit", Ink::Reference(0));
        }
        Ok(())
    }))
}

/// Mean and most of each of [`COLUMNS`] equal parts of the time from 0 to `end`; a count lasts
/// until the next.
fn columns(steps: &[(f64, u32)], end: f64) -> Vec<(f64, u32)> {
    let width = end / COLUMNS as f64;
    let mut columns = vec![(0.0, 0); COLUMNS];
    let ends = steps.iter().skip(1).map(|(x, _)| *x).chain([end]);
    for (&(from, count), to) in steps.iter().zip(ends) {
        let (first, last) = ((from / width) as usize, (to / width) as usize);
        for (i, (mean, most)) in columns.iter_mut().enumerate().take(last + 1).skip(first) {
            let inside = to.min(width * (i + 1) as f64) - from.max(width * i as f64);
            *mean += f64::from(count) * inside.max(0.0) / width;
            *most = (*most).max(count);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn columns_hold_mean_and_most_of_what_was_in_them() {
        // A column is 1 wide.
        let columns = columns(&[(0.25, 4), (0.5, 8), (2.5, 2), (2.75, 0)], COLUMNS as f64);
        let expected = [(4.0 * 0.25 + 8.0 * 0.5, 8), (8.0, 8), (8.0 * 0.5 + 2.0 * 0.25, 8), (0.0, 0)];
        assert_eq!(columns[..4], expected);
        assert!(columns[4..].iter().all(|column| *column == (0.0, 0)));
    }

    #[test]
    fn a_recorded_sample_has_a_time_line_with_the_limit_where_it_is_near() {
        let report = example::report(example::overlap(1));
        let recorded: Vec<_> = report.samples.iter().filter(|sample| !sample.faults.is_empty()).collect();
        assert_eq!(recorded.len(), 3);
        for sample in recorded {
            let svg = draw(&report, sample, Size::Wide).unwrap();
            let most = outstanding(&sample.faults).iter().map(|(_, count)| *count).max().unwrap();
            assert_eq!(
                svg.contains("host&#39;s limit") || svg.contains("host's limit"),
                most >= 32,
                "{most}"
            );
            assert!(svg.contains("since the first fault") && !svg.contains("NaN"), "{svg}");
        }
        assert_eq!(draw(&report, &report.samples[1], Size::Wide), None);
    }
}
