//! A backend of plotters that writes SVG with classes in place of colours.
//!
//! plotters' own writes fixed colours, which a dark page or paper cannot change.

use std::convert::Infallible;
use std::fmt::Write as _;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
};

use super::ink::Ink;

/// plotters counts whole pixels; this many of them make one of CSS.
pub const SCALE: i32 = 10;

/// A drawing in memory.
pub struct Svg<'a> {
    text: &'a mut String,
    size: (u32, u32),
}

impl<'a> Svg<'a> {
    /// Starts a drawing of this size in CSS pixels; `label` describes it to those who cannot see it.
    pub fn new(text: &'a mut String, size: (u32, u32), label: &str) -> Self {
        let (width, height) = size;
        let _ = write!(
            text,
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escaped(label)
        );
        Self { text, size }
    }

    fn element(&mut self, name: &str, attributes: &str, class: &str) {
        let _ = write!(self.text, "<{name} {attributes} class=\"{class}\"/>");
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Svg<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.size.0 * SCALE as u32, self.size.1 * SCALE as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        if !self.text.ends_with("</svg>") {
            self.text.push_str("</svg>");
        }
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect(point, (point.0 + 1, point.1 + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let size = format!("width=\"{}\" height=\"{}\"", css(right - left), css(bottom - top));
        let attributes = format!("x=\"{}\" y=\"{}\" {size}{}", css(left), css(top), width(style, fill));
        self.element("rect", &attributes, &class(style, fill));
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let attributes = format!("d=\"{}\"{}", data(path), width(style, false));
        self.element("path", &attributes, &class(style, false));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (x, y, r) = (css(center.0), css(center.1), css(radius.cast_signed()));
        let attributes = format!("cx=\"{x}\" cy=\"{y}\" r=\"{r}\"{}", width(style, fill));
        self.element("circle", &attributes, &class(style, fill));
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        vert: I,
        style: &S,
    ) -> Drawn {
        self.element("path", &format!("d=\"{}Z\"", data(vert)), &class(style, true));
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, pos: BackendCoord) -> Drawn {
        let size = style.size();
        let anchor = style.anchor();
        let horizontal = match anchor.h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        // In place of `dominant-baseline`, which not every reader of SVG knows.
        let down = match anchor.v_pos {
            VPos::Top => 0.8,
            VPos::Center => 0.34,
            VPos::Bottom => -0.2,
        };
        let y = pos.1 + (size * down) as i32;
        let bold = if matches!(style.style(), FontStyle::Bold) { " font-weight=\"600\"" } else { "" };
        let _ = write!(
            self.text,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{horizontal}\"{bold} class=\"fill-{}\">{}</text>",
            css(pos.0),
            css(y),
            css(size as i32),
            Ink::of(style.color()).class(),
            escaped(text)
        );
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((text_width(text, style.size()) as u32, style.size() as u32))
    }
}

/// Adds hints to a finished drawing, for a pointer that rests there.
pub fn hint(text: &mut String, hints: &[(BackendCoord, String)]) {
    let body = text.trim_end_matches("</svg>").len();
    text.truncate(body);
    for ((x, y), hint) in hints {
        let title = format!("<title>{}</title>", escaped(hint));
        let _ = write!(
            text,
            "<circle cx=\"{}\" cy=\"{}\" r=\"9\" class=\"hint\">{title}</circle>",
            css(*x),
            css(*y)
        );
    }
    text.push_str("</svg>");
}

/// Approximate width of a text in a sans-serif font of this size, in the size's unit.
pub fn text_width(text: &str, size: f64) -> f64 {
    let wide = |c: char| match c {
        'i' | 'l' | 'j' | 't' | 'f' | 'I' | '.' | ',' | ':' | '\'' | '|' | '(' | ')' | ' ' => 0.31,
        'm' | 'w' | 'M' | 'W' | '%' | '→' => 0.88,
        _ => 0.57,
    };
    text.chars().map(wide).sum::<f64>() * size
}

/// A length in CSS pixels.
fn css(length: i32) -> f64 {
    f64::from(length) / f64::from(SCALE)
}

fn class(style: &impl BackendStyle, fill: bool) -> String {
    let kind = if fill { "fill" } else { "line" };
    format!("{kind}-{}", Ink::of(style.color()).class())
}

fn width(style: &impl BackendStyle, fill: bool) -> String {
    if fill {
        String::new()
    } else {
        format!(" stroke-width=\"{}\"", css(style.stroke_width().cast_signed()))
    }
}

/// A path, from point to point; what stays on one line is left out.
fn data(points: impl IntoIterator<Item = BackendCoord>) -> String {
    let mut path = String::new();
    let mut last = None;
    for (x, y) in points {
        match last {
            None => drop(write!(path, "M{} {}", css(x), css(y))),
            Some((_, before)) if before == y => drop(write!(path, "H{}", css(x))),
            Some((before, _)) if before == x => drop(write!(path, "V{}", css(y))),
            Some(_) => drop(write!(path, "L{} {}", css(x), css(y))),
        }
        last = Some((x, y));
    }
    path
}

/// Text with escapes in place of markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use plotters::prelude::*;

    use super::*;

    #[test]
    fn colours_become_classes_and_text_is_escaped() {
        let mut text = String::new();
        let area = Svg::new(&mut text, (100, 50), "a < b").into_drawing_area();
        let line =
            PathElement::new(vec![(0, 0), (100, 0), (100, 200), (155, 210)], Ink::Axis.stroke_width(15));
        area.draw(&line).unwrap();
        area.draw(&Rectangle::new([(0, 0), (10, 20)], Ink::Text.filled())).unwrap();
        let style = ("sans-serif", 120).into_font().color(&Ink::Grid);
        area.draw_text("p < 1 & q", &style, (0, 0)).unwrap();
        area.present().unwrap();
        drop(area);
        assert_eq!(
            text,
            "<svg viewBox=\"0 0 100 50\" role=\"img\" aria-label=\"a &lt; b\">\
             <path d=\"M0 0H10V20L15.5 21\" stroke-width=\"1.5\" class=\"line-axis\"/>\
             <rect x=\"0\" y=\"0\" width=\"1\" height=\"2\" class=\"fill-text\"/>\
             <text x=\"0\" y=\"9.6\" font-size=\"12\" text-anchor=\"start\" class=\"fill-grid\">p &lt; 1 &amp; q</text>\
             </svg>"
        );
    }
}
