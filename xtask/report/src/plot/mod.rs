//! Pictures, drawn by plotters as SVG that takes its colours from the page around it.
//!
//! - [`ink`]: meanings of colours; the page says how they look, by light and by night
//! - [`svg`]: plotters' backend for that
//! - [`axis`]: linear, logarithmic and log-percentile axes
//! - [`frame`]: axes, grid, lines with their names where they end
//! - [`curves`]: a metric along the variable
//! - [`percentiles`]: distributions overlaid
//! - [`stages`]: the time that each stage of a fault takes
//! - [`timeline`]: faults outstanding
pub mod axis;
pub mod curves;
pub mod frame;
pub mod ink;
pub mod percentiles;
pub mod stages;
pub mod svg;
pub mod timeline;

/// Two drawings of one picture: text cannot shrink with a screen and stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For a page's whole width, and for paper.
    Wide,
    /// For a phone, or for half of a page.
    Narrow,
}

impl Size {
    /// Width and height in CSS pixels.
    pub const fn pixels(self) -> (u32, u32) {
        match self {
            Self::Wide => (960, 400),
            Self::Narrow => (360, 290),
        }
    }
}

/// The unit in which this many µs are neither large nor small, and its µs.
pub fn unit(us: f64) -> (&'static str, f64) {
    match us {
        t if t >= 1e6 => ("s", 1e6),
        t if t >= 1e3 => ("ms", 1e3),
        _ => ("µs", 1.0),
    }
}
