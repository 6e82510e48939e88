//! Axes, grid, and lines that carry their names where they end.

use std::convert::Infallible;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, IntoFont, TextStyle};

use super::Size;
use super::axis::Axis;
use super::ink::Ink;
use super::svg::{self, SCALE, Svg, text_width};
use crate::document::Mode;

/// Result of drawing, which never fails: memory takes everything.
pub type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<Infallible>>;

/// A place in the picture, in plotters' pixels.
pub type Place = (i32, i32);

/// Size of text in CSS pixels.
const TEXT: i32 = 12;
/// Room above the plot, where the vertical axis is named.
const TOP: i32 = 26;
/// Least distance of two names beside the plot.
const NAME_STEP: i32 = 15;

/// CSS pixels in plotters'.
pub const fn px(css: i32) -> i32 {
    css * SCALE
}

/// A picture's surroundings of its plot.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Wide or narrow.
    pub size: Size,
    /// Height in CSS pixels, where it is not the size's own.
    pub height: Option<u32>,
    /// A description for those who cannot see it.
    pub label: String,
    /// The horizontal axis and its name.
    pub x: (Axis, String),
    /// The vertical axis and its name.
    pub y: (Axis, String),
    /// Names that will stand beside the plot.
    pub names: Vec<String>,
}

/// A picture with axes, to be drawn into.
pub struct Frame<'a> {
    root: DrawingArea<Svg<'a>, Shift>,
    chart: ChartContext<'a, Svg<'a>, Cartesian2d<Axis, Axis>>,
    /// The axes, to know what is inside.
    axes: (Axis, Axis),
    names: Vec<(Place, String, Ink)>,
    hints: Vec<(Place, String)>,
}

/// Draws one picture; `inside` draws what is in the frame.
pub fn picture(outline: Outline, inside: impl FnOnce(&mut Frame<'_>) -> Drawn) -> String {
    let mut text = String::new();
    let (width, height) = outline.size.pixels();
    let size = (width, outline.height.unwrap_or(height));
    let svg = Svg::new(&mut text, size, &outline.label);
    let hints = Frame::new(svg.into_drawing_area(), outline)
        .and_then(|mut frame| {
            inside(&mut frame)?;
            frame.draw_names()?;
            frame.root.present()?;
            Ok(frame.hints)
        })
        .expect("memory takes everything");
    svg::hint(&mut text, &hints);
    text
}

impl<'a> Frame<'a> {
    fn new(root: DrawingArea<Svg<'a>, Shift>, outline: Outline) -> Drawn<Self> {
        let ((x, x_name), (y, y_name)) = (outline.x, outline.y);
        let width = |text: &str| text_width(text, f64::from(TEXT)) as i32;
        let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(width).max().unwrap_or(0);
        let left = widest(&mut y.labels()) + if y.labels().next().is_some() { 10 } else { 6 };
        let last_number = x.labels().last().map_or(0, |last| width(last) / 2);
        // Names are bold.
        let names = widest(&mut outline.names.iter().map(String::as_str)) * 9 / 8;
        let right = (names + 12).max(last_number + 4);
        let plot = f64::from(outline.size.pixels().0.cast_signed() - left - right);
        let x = x.thinned(plot, |text| text_width(text, f64::from(TEXT)) + 6.0);
        let bottom = if x.labels().next().is_some() { 38 } else { 4 };
        let top = if y_name.is_empty() { 6 } else { TOP };
        let mut chart = ChartBuilder::on(&root)
            .margin_top(px(top))
            .margin_right(px(right))
            .x_label_area_size(px(bottom))
            .y_label_area_size(px(left))
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(Ink::Grid.stroke_width(px(1).unsigned_abs()))
            .axis_style(Ink::Axis.stroke_width(px(1).unsigned_abs()))
            .label_style(style(Ink::Axis))
            .axis_desc_style(style(Ink::Text))
            .x_desc(x_name)
            .set_all_tick_mark_size(px(3))
            .draw()?;
        let top_left = style(Ink::Text).pos(Pos::new(HPos::Left, VPos::Top));
        root.draw_text(&y_name, &top_left, (px(2), px(2)))?;
        let frame = Self { root, chart, axes: (x, y), names: Vec::new(), hints: Vec::new() };
        let zero = frame.axes.1.position(0.0);
        if zero > 0.0 && zero < 1.0 {
            let ((left, right, ..), (_, zero)) = (frame.ends(), frame.at(0.0, 0.0));
            frame.path(vec![(left, zero), (right, zero)], Ink::Axis, 1.0)?;
        }
        Ok(frame)
    }

    /// The place of a value.
    pub fn at(&self, x: f64, y: f64) -> Place {
        self.chart.backend_coord(&(x, y))
    }

    /// A line through these values, cut where it leaves the plot, and its visible points.
    pub fn line(&self, values: &[(f64, f64)], ink: Ink, width: f64) -> Drawn<Vec<Place>> {
        let position = |&(x, y): &(f64, f64)| (self.axes.0.position(x), self.axes.1.position(y));
        let places: Vec<_> = values.iter().map(position).collect();
        let mut visible: Vec<Place> = Vec::new();
        for part in cut(&places) {
            let points: Vec<Place> = part.into_iter().map(|position| self.place(position)).collect();
            visible.extend(&points);
            self.path(points, ink, width)?;
        }
        if let &[only] = places.as_slice() {
            visible.push(self.place(only));
        }
        Ok(visible)
    }

    /// A mark for a line that goes on beyond the plot.
    pub fn beyond(&self, (_, y): (f64, f64)) -> &'static str {
        match self.axes.1.position(y) {
            height if height < 0.0 => " ↓",
            height if height > 1.0 => " ↑",
            _ => "",
        }
    }

    /// A line from place to place.
    pub fn path(&self, places: Vec<Place>, ink: Ink, width: f64) -> Drawn {
        let width = (width * f64::from(SCALE)) as u32;
        self.root.draw(&PathElement::new(places, ink.stroke_width(width)))
    }

    /// A surface.
    pub fn surface(&self, places: Vec<Place>, ink: Ink) -> Drawn {
        self.root.draw(&Polygon::new(places, ink.filled()))
    }

    /// A bar.
    pub fn bar(&self, from: Place, to: Place, ink: Ink) -> Drawn {
        self.root.draw(&Rectangle::new([from, to], ink.filled()))
    }

    /// A mode's mark, with a shape and a colour of its own.
    pub fn mark(&self, (x, y): Place, mode: Mode, ink: Ink) -> Drawn {
        let r = px(4);
        match mode {
            Mode::Async => self.root.draw(&Circle::new((x, y), r, ink.filled())),
            Mode::Blocked => self.bar((x - r + 4, y - r + 4), (x + r - 4, y + r - 4), ink),
            Mode::Halt => {
                self.surface(vec![(x, y - r - 6), (x + r + 4, y + r - 6), (x - r - 4, y + r - 6)], ink)
            }
            // Standing on a corner, and a triangle upside down.
            Mode::LinuxBlocked => {
                self.surface(vec![(x, y - r - 6), (x + r + 6, y), (x, y + r + 6), (x - r - 6, y)], ink)
            }
            Mode::LinuxAsync => {
                self.surface(vec![(x, y + r + 6), (x + r + 4, y - r + 6), (x - r - 4, y - r + 6)], ink)
            }
        }
    }

    /// Words in the plot.
    pub fn text(&self, text: &str, place: Place, ink: Ink, (h, v): (HPos, VPos)) -> Drawn {
        self.root.draw_text(text, &style(ink).pos(Pos::new(h, v)), place)
    }

    /// Names a line beside the plot, at its end.
    pub fn name(&mut self, end: Place, name: &str, ink: Ink) {
        self.names.push((end, name.to_owned(), ink));
    }

    /// Adds a hint for a pointer that rests here.
    pub fn hint(&mut self, place: Place, text: String) {
        self.hints.push((place, text));
    }

    /// The plot's ends: left, right, top, bottom.
    pub fn ends(&self) -> (i32, i32, i32, i32) {
        let (x, y) = self.chart.plotting_area().get_pixel_range();
        (x.start, x.end, y.start, y.end)
    }

    fn place(&self, (x, y): (f64, f64)) -> Place {
        let (left, right, top, bottom) = self.ends();
        let along = |from: i32, to: i32, share: f64| from + (share * f64::from(to - from)).round() as i32;
        (along(left, right, x), along(bottom, top, y))
    }

    /// Names as near as they can be to where they belong, and never on each other.
    fn draw_names(&mut self) -> Drawn {
        let (_, right, top, bottom) = self.ends();
        self.names.sort_by_key(|((_, y), ..)| *y);
        let wanted: Vec<i32> = self.names.iter().map(|((_, y), ..)| *y).collect();
        let heights = spread(&wanted, px(NAME_STEP), (top, bottom));
        for (((x, y), name, ink), height) in self.names.iter().zip(heights) {
            // A hook where the name is not beside the end.
            if (height - y).abs() > px(3) {
                let from = (*x + px(6)).min(right);
                self.path(vec![(from, *y), (right + px(3), height), (right + px(7), height)], *ink, 0.8)?;
            }
            let bold = style(*ink).pos(Pos::new(HPos::Left, VPos::Center));
            let font = bold.font.clone().style(FontStyle::Bold);
            self.root.draw_text(name, &TextStyle { font, ..bold }, (right + px(9), height))?;
        }
        Ok(())
    }
}

fn style(ink: Ink) -> TextStyle<'static> {
    ("sans-serif", f64::from(px(TEXT))).into_font().color(&ink)
}

/// Heights at least `step` apart within the ends, each near the one that is wanted; sorted.
fn spread(wanted: &[i32], step: i32, (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut heights: Vec<i32> = Vec::with_capacity(wanted.len());
    for &height in wanted {
        let free = heights.last().map_or(top, |last| last + step);
        heights.push(height.max(free));
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(limit);
        limit = *height - step;
    }
    heights
}

/// The parts of a line whose height is within 0 to 1.
fn cut(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        // Shares of the segment at which it comes in and goes out.
        let (mut from, mut to) = (0.0f64, 1.0f64);
        if y0 == y1 {
            if !(0.0..=1.0).contains(&y0) {
                continue;
            }
        } else {
            let (a, b) = ((0.0 - y0) / (y1 - y0), (1.0 - y0) / (y1 - y0));
            (from, to) = (from.max(a.min(b)), to.min(a.max(b)));
            if from >= to {
                continue;
            }
        }
        let along = |share: f64| (x0 + share * (x1 - x0), y0 + share * (y1 - y0));
        let (begin, end) = (along(from), along(to));
        match parts.last_mut() {
            Some(part) if from == 0.0 && part.last() == Some(&begin) => part.push(end),
            _ => parts.push(vec![begin, end]),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_stay_inside() {
        assert_eq!(spread(&[50, 52, 200], 15, (0, 300)), [50, 65, 200]);
        assert_eq!(spread(&[290, 295, 299], 15, (0, 300)), [270, 285, 300]);
        assert_eq!(spread(&[-20, -10], 15, (0, 300)), [0, 15]);
    }

    #[test]
    fn lines_are_cut_where_they_leave_the_plot() {
        let parts = cut(&[(0.0, 0.5), (1.0, 0.5), (2.0, -0.5), (3.0, -0.5), (4.0, 0.5)]);
        assert_eq!(parts, [vec![(0.0, 0.5), (1.0, 0.5), (1.5, 0.0)], vec![(3.5, 0.0), (4.0, 0.5)]]);
        assert_eq!(cut(&[(0.0, 2.0), (1.0, 3.0)]), Vec::<Vec<_>>::new());
        assert_eq!(cut(&[(0.0, -1.0), (1.0, 2.0)]).len(), 1);
    }
}
