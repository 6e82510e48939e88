//! How many faults were outstanding when.

use super::Size;
use super::axis::Axis;
use super::frame::{Outline, picture, px};
use super::ink::Ink;
use crate::document::{Document, Sample};
use crate::lives::{Life, outstanding};

/// What the host takes of each core before it stops it.
const LIMIT: u32 = 64;

/// Steps that can be told apart in a picture; more of them are drawn as the range in which they were.
const COLUMNS: usize = 340;

/// Whether single steps are too many to be told apart.
#[must_use]
pub fn is_dense(sample: &Sample) -> bool {
    outstanding(&sample.faults).len() > 2 * COLUMNS
}

/// The picture of a sample; `None` if no single fault was recorded.
#[must_use]
pub fn draw(document: &Document, sample: &Sample, size: Size) -> Option<String> {
    let steps = outstanding(&sample.faults);
    let (first, _) = *steps.first()?;
    let last = sample.faults.iter().map(|fault| Life::of(fault).running).max()?;
    let most = steps.iter().map(|(_, count)| *count).max()?;
    let us = |cycles: u64| cycles as f64 / f64::from(document.setting.tsc_mhz);
    let (unit, scale) = super::unit(us(last - first));
    let limit = LIMIT * document.setting.cores;
    let shown = most * 2 >= limit;
    let outline = Outline {
        size,
        height: Some(if size == Size::Wide { 260 } else { 220 }),
        label: "faults outstanding over time".into(),
        x: (Axis::linear(0.0, us(last - first) / scale), format!("{unit} since the first fault")),
        y: (
            Axis::linear(0.0, f64::from(if shown { most.max(limit) } else { most })),
            "faults that the host has not answered yet".into(),
        ),
        names: if shown { vec!["host's limit".into()] } else { vec![] },
    };
    let places: Vec<(f64, u32)> =
        steps.iter().map(|&(time, count)| (us(time - first) / scale, count)).collect();
    Some(picture(outline, |frame| {
        let (left, right, _, bottom) = frame.ends();
        let place = |x: f64, count: u32| frame.at(x, f64::from(count));
        let mut upper = vec![(left, bottom)];
        let mut lower = Vec::new();
        if is_dense(sample) {
            let width = (right - left) / COLUMNS as i32;
            for (column, least, most) in columns(&places, |x| (place(x, 0).0 - left) / width.max(1)) {
                let x = left + column * width;
                upper.extend([(x, place(0.0, most).1), (x + width, place(0.0, most).1)]);
                lower.extend([(x, place(0.0, least).1), (x + width, place(0.0, least).1)]);
            }
        } else {
            let mut height = bottom;
            for &(x, count) in &places {
                let (x, y) = place(x, count);
                upper.extend([(x, height), (x, y)]);
                height = y;
            }
        }
        let end = upper.last().map_or(left, |(x, _)| *x);
        frame.surface([upper.as_slice(), &[(end, bottom)]].concat(), Ink::Shade(sample.mode))?;
        for line in [upper, lower] {
            if !line.is_empty() {
                frame.path(line, Ink::Mode(sample.mode), 1.0)?;
            }
        }
        if shown {
            let y = place(0.0, limit).1;
            frame.path(vec![(left, y), (right + px(6), y)], Ink::Reference(0), 1.5)?;
            frame.name((right, y), "host's limit", Ink::Reference(0));
        }
        Ok(())
    }))
}

/// Column, least and most of each column that time passes through; a count lasts until the next.
fn columns(steps: &[(f64, u32)], column: impl Fn(f64) -> i32) -> Vec<(i32, u32, u32)> {
    let mut columns: Vec<(i32, u32, u32)> = Vec::new();
    let mut count = 0;
    for &(x, next) in steps {
        let here = column(x);
        let reached = columns.last().map_or(here, |(column, ..)| column + 1);
        columns.extend((reached..=here).map(|column| (column, count, count)));
        if let Some((_, least, most)) = columns.last_mut() {
            (*least, *most) = ((*least).min(next), (*most).max(next));
        }
        count = next;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn columns_hold_the_range_of_what_was_in_them() {
        let steps = [(0.2, 1), (0.4, 5), (0.9, 3), (3.5, 4), (3.6, 0)];
        let found = columns(&steps, |x| x as i32);
        assert_eq!(found, [(0, 0, 5), (1, 3, 3), (2, 3, 3), (3, 0, 4)]);
    }

    #[test]
    fn a_recorded_sample_has_a_time_line_with_the_limit_where_it_is_near() {
        let document = example::overlap(1);
        let recorded: Vec<_> = document.samples.iter().filter(|sample| !sample.faults.is_empty()).collect();
        assert_eq!(recorded.len(), 3);
        for sample in recorded {
            let svg = draw(&document, sample, Size::Wide).unwrap();
            let most = outstanding(&sample.faults).iter().map(|(_, count)| *count).max().unwrap();
            assert_eq!(
                svg.contains("host&#39;s limit") || svg.contains("host's limit"),
                most >= 32,
                "{most}"
            );
            assert!(svg.contains("since the first fault") && !svg.contains("NaN"), "{svg}");
        }
        assert_eq!(draw(&document, &document.samples[1], Size::Wide), None);
    }
}
