//! The comparison for a terminal.

use std::fmt::Write as _;

use super::{Comparison, Row, Verdict};
use crate::number;
use crate::plot::curves::better;
use crate::stats::CONFIDENCE;
use crate::terminal::{Look, Tone};

impl Verdict {
    /// Name of the verdict.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Regression => "REGRESSION",
            Self::Suspect => "suspect",
            Self::Worse => "worse, allowed",
            Self::Same => "same",
            Self::Better => "better",
            Self::Unknown => "unknown",
            Self::NotJudged => "",
        }
    }
}

impl Comparison<'_> {
    /// A table for each metric and panel, and a last line that sums up.
    pub fn text(&self, look: Look) -> String {
        let mut text = format!(
            "{}: the second compared with the first, medians, {:.0} % intervals of the change\n",
            look.paint(Tone::Heading, &self.a.experiment.name),
            CONFIDENCE * 100.0
        );
        for (which, report) in [("first", self.a), ("second", self.b)] {
            let setting = &report.setting;
            let revision = setting.git_revision.as_deref().unwrap_or("unknown revision");
            let modified = if setting.git_modified { ", modified" } else { "" };
            let _ = writeln!(text, "  {which:<8}{} of {revision}{modified}", setting.began);
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        let mut before = None;
        for row in &self.rows {
            let here = (row.metric.name.as_str(), row.point.panel);
            if before != Some(here) {
                self.heading(&mut text, row, look);
                before = Some(here);
            }
            let _ = writeln!(text, "{}", self.row(row, look));
        }
        text + "\n" + &self.last_line()
    }

    fn heading(&self, text: &mut String, row: &Row<'_>, look: Look) {
        let experiment = &self.a.experiment;
        let place = match row.point.panel {
            Some(_) => format!(", {}", self.a.panel_title(row.point.panel)),
            None => String::new(),
        };
        let name = format!("{}{}{place}", row.metric.label, better(row.metric.better));
        let _ = writeln!(text, "\n{}", look.paint(Tone::Heading, &name));
        let (variable, width, modes) = (&experiment.variable.label, self.width(), self.mode_width());
        let [first, second, change, interval] = ["first", "second", "change", "interval"];
        let cells = format!("{first:>10}{second:>10}{change:>10}{interval:>24}");
        let _ = writeln!(text, "  {variable:>width$}  {:<modes$}{cells}", "mode");
    }

    fn row(&self, row: &Row<'_>, look: Look) -> String {
        let change = row.change.map_or_else(|| "–".into(), number::change);
        let interval = row.interval.map_or_else(
            || format!("n {} and {}", row.a.n, row.b.n),
            |i| format!("{} to {}", number::change(i.low), number::change(i.high)),
        );
        let word = row.verdict.word();
        let word = row.verdict.tone().map_or_else(|| word.to_owned(), |tone| look.paint(tone, word));
        let (width, modes) = (self.width(), self.mode_width());
        let line = format!(
            "  {:>width$}  {:<modes$}{:>10}{:>10}{change:>10}{interval:>24}  {word}",
            number::exact(row.point.x.0),
            row.mode.name(),
            number::short(row.a.median),
            number::short(row.b.median),
        );
        line.trim_end().to_owned()
    }

    fn width(&self) -> usize {
        self.a.experiment.variable.label.chars().count().max(6)
    }

    fn mode_width(&self) -> usize {
        self.rows.iter().map(|row| row.mode.name().len() + 1).fold(8, usize::max)
    }

    fn last_line(&self) -> String {
        let limit = number::exact((self.limit * 1e6).round() / 1e4);
        let counted = [
            (Verdict::Regression, format!("past the limit of {limit} %")),
            (Verdict::Suspect, "suspect".into()),
            (Verdict::Worse, "worse but allowed".into()),
            (Verdict::Same, "the same".into()),
            (Verdict::Better, "better".into()),
            (Verdict::Unknown, "unknown".into()),
        ];
        let always = [Verdict::Regression, Verdict::Same];
        counted
            .iter()
            .filter(|(verdict, _)| always.contains(verdict) || self.count(*verdict) > 0)
            .map(|(verdict, name)| format!("{} {name}", self.count(*verdict)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn every_row_is_shown_and_the_last_line_sums_up() {
        let a = example::report(example::small().document());
        let b = example::report(example::Made { slower: 1.3, seed: 2, ..example::small() }.document());
        let text = Comparison::new(&a, &b, 0.05).unwrap().text(Look::Plain);
        assert_eq!(text.matches("REGRESSION").count(), 2, "{text}");
        assert!(text.contains("note: setting.seed is 1 in the first and 2 in the second"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("2 past the limit of 5 %, "), "{last}");
        let counted: usize =
            last.split(", ").map(|part| part.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(counted, 2 * 2 * 3);
    }
}
