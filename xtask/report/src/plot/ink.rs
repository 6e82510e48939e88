//! Meanings of colours.
//!
//! plotters passes colours through to its backend, so an [`Ink`]'s number travels as one, and comes
//! out as the class whose colour the page's style sheet sets. No meaning is shown by colour alone.

use plotters::style::Color;
use plotters_backend::BackendColor;

use crate::document::Mode;

/// Something that has a colour of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text in the foreground.
    Text,
    /// Axes and their numbers.
    Axis,
    /// Lines behind everything.
    Grid,
    /// A mode's line.
    Mode(Mode),
    /// A second line of it.
    Second(Mode),
    /// The same, for surfaces.
    Shade(Mode),
    /// A curve to compare the others with.
    Reference(u8),
    /// A stage of a fault.
    Stage(u8),
}

/// References that look different.
pub const REFERENCES: u8 = 3;
/// Stages of a fault.
const STAGES: u8 = 4;

impl Ink {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Text, Self::Axis, Self::Grid]
            .into_iter()
            .chain(Mode::ALL.into_iter().map(Self::Mode))
            .chain(Mode::ALL.into_iter().map(Self::Second))
            .chain(Mode::ALL.into_iter().map(Self::Shade))
            .chain((0..REFERENCES).map(Self::Reference))
            .chain((0..STAGES).map(Self::Stage))
    }

    /// Its number.
    fn number(self) -> u8 {
        let ink = match self {
            Self::Reference(i) => Self::Reference(i % REFERENCES),
            Self::Stage(i) => Self::Stage(i % STAGES),
            other => other,
        };
        Self::all().position(|other| other == ink).and_then(|i| u8::try_from(i).ok()).unwrap_or(0)
    }

    /// The ink that was passed through plotters.
    pub fn of(color: BackendColor) -> Self {
        Self::all().nth(color.rgb.0.into()).unwrap_or(Self::Text)
    }

    /// Name of its class.
    pub fn class(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Axis => "axis".into(),
            Self::Grid => "grid".into(),
            Self::Mode(mode) => mode.name().into(),
            Self::Second(mode) => format!("{}-second", mode.name()),
            Self::Shade(mode) => format!("{}-shade", mode.name()),
            Self::Reference(i) => format!("reference{i}"),
            Self::Stage(i) => format!("stage{i}"),
        }
    }
}

impl Color for Ink {
    fn to_backend_color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: (self.number(), 0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ink_comes_out_of_plotters_as_it_went_in() {
        for ink in Ink::all() {
            assert_eq!(Ink::of(ink.to_backend_color()), ink);
        }
        assert_eq!(Ink::of(Ink::Reference(REFERENCES).to_backend_color()), Ink::Reference(0));
    }
}
