//! Tables and bars for a terminal.

use anstyle::{AnsiColor, Style};

use crate::compare::Verdict;
use crate::document::Mode;

/// Looks of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For files and pipes.
    Plain,
    /// For a terminal.
    Coloured,
}

/// Meaning of a colour.
#[derive(Clone, Copy, Debug)]
pub enum Tone {
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Perhaps not as it should be.
    Doubtful,
    /// A mode.
    Mode(Mode),
}

impl Look {
    /// The text, in colour where there is any.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Heading => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Doubtful | Tone::Mode(Mode::Blocked) => AnsiColor::Yellow.on_default(),
            Tone::Mode(Mode::Halt) => AnsiColor::Magenta.on_default(),
            Tone::Mode(Mode::Async) => AnsiColor::Cyan.on_default(),
            Tone::Mode(Mode::LinuxBlocked) => AnsiColor::Red.on_default(),
            Tone::Mode(Mode::LinuxAsync) => AnsiColor::Green.on_default(),
        };
        format!("{style}{text}{style:#}")
    }
}

impl Verdict {
    /// Its colour.
    pub const fn tone(self) -> Option<Tone> {
        match self {
            Self::Regression => Some(Tone::Bad),
            Self::Suspect | Self::Worse => Some(Tone::Doubtful),
            Self::Better => Some(Tone::Good),
            Self::Same | Self::Unknown | Self::NotJudged => None,
        }
    }
}

/// A bar of up to `width` cells, to an eighth of one.
pub fn bar(share: f64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    // A value above 0 is seen.
    let eighths = if share > 0.0 { eighths.max(1) } else { eighths };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

/// A column for each count, as high as it is common.
pub fn columns(counts: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    counts
        .iter()
        .map(|&count| match count {
            0 => ' ',
            _ => HEIGHTS[((count as f64 / most as f64 * 8.0).ceil() as usize).clamp(1, 8) - 1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!((bar(0.0, 3).as_str(), bar(0.001, 3).as_str()), ("", "▏"));
        assert_eq!(bar(0.3, 4), "█▎");
    }

    #[test]
    fn columns_show_rare_values_and_leave_gaps() {
        assert_eq!(columns(&[0, 1, 50, 100]), " ▁▄█");
    }

    #[test]
    fn plain_is_plain() {
        assert_eq!(Look::Plain.paint(Tone::Bad, "x"), "x");
        assert_eq!(Look::Coloured.paint(Tone::Good, "x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
