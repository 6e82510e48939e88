//! The view on a terminal, which is restored whatever ends it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Row, Sparkline, Table};

use super::meter::{Figures, View};
use crate::process::guard;

/// Held while something is drawn.
static DRAWING: Mutex<()> = Mutex::new(());
/// Looks in the picture of the rate.
const HISTORY: usize = 240;
const WIDTHS: [Constraint; 6] = [
    Constraint::Min(18),
    Constraint::Length(17),
    Constraint::Length(17),
    Constraint::Length(17),
    Constraint::Length(17),
    Constraint::Length(17),
];

/// Shows a look each `interval` until the VM or the user ends it.
pub fn show(
    title: &str,
    interval: Duration,
    count: Option<u64>,
    mut look: impl FnMut() -> Result<View>,
) -> Result<()> {
    // Also after a panic: `try_init` sets a hook for that.
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on: use --json")?;
    let farewell = guard::before_leaving(|| {
        let drawing = DRAWING.lock();
        ratatui::restore();
        // Nothing is drawn after this.
        std::mem::forget(drawing);
    });
    let ended = (|| -> Result<Option<View>> {
        let mut rates = VecDeque::new();
        let mut view = None;
        let (mut looks, mut next) = (0, Instant::now() + interval);
        loop {
            let draw = |frame: &mut Frame| draw(frame, title, view.as_ref(), rates.make_contiguous());
            let drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            terminal.draw(draw).context("cannot draw on the terminal")?;
            drop(drawing);
            let left = next.saturating_duration_since(Instant::now());
            if event::poll(left).context("cannot read the terminal")? {
                match event::read().context("cannot read the terminal")? {
                    Event::Key(key) if quits(key) => return Ok(view),
                    _ => continue,
                }
            }
            (looks, next) = (looks + 1, next + interval);
            let seen = look()?;
            rates.push_back(seen.per_second.not_present.round() as u64);
            rates.drain(..rates.len().saturating_sub(HISTORY));
            if seen.ended || count == Some(looks) {
                return Ok(Some(seen));
            }
            view = Some(seen);
        }
    })();
    drop(farewell);
    ratatui::restore();
    // What was seen last stays on the terminal.
    if let Some(view) = ended? {
        println!("{title}\n{}\n{}", View::heading(), view.line());
    }
    Ok(())
}

/// In the terminal's raw mode Ctrl-C is a key like any other.
fn quits(key: KeyEvent) -> bool {
    let interrupts = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (interrupts || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn draw(frame: &mut Frame, title: &str, view: Option<&View>, rates: &[u64]) {
    let cores = view.map_or(0, |view| view.cores.len());
    let height = u16::try_from(cores).unwrap_or(u16::MAX).saturating_add(4);
    let parts = [Constraint::Length(height), Constraint::Min(3), Constraint::Length(1)];
    let [table, picture, keys] = Layout::vertical(parts).areas(frame.area());

    let cells = |name: String, total: &Figures<u64>, rate: &Figures<f64>| {
        let pairs = total.each().into_iter().zip(rate.each());
        let figures = pairs.map(|(count, rate)| {
            Line::from(format!("{count} {:>6}", format!("{rate:.0}/s"))).right_aligned()
        });
        Row::new([Line::from(name)].into_iter().chain(figures))
    };
    let rows = view.into_iter().flat_map(|view| {
        let cores = view.cores.iter().map(|core| {
            let name = core.core.map_or("virtual CPU".into(), |number| format!("virtual CPU {number}"));
            cells(format!("{name}, thread {}", core.thread), &core.total, &core.per_second)
        });
        [cells("all".into(), &view.total, &view.per_second).bold()].into_iter().chain(cores)
    });
    let names = Figures::<u64>::NAMES.map(|name| Line::from(name).right_aligned());
    let heading = Row::new([Line::default()].into_iter().chain(names)).style(Style::new().dim());
    let time = view.map_or(String::new(), |view| format!(", {:.0} s", view.seconds));
    let block = Block::bordered().title(format!(" page faults of {title}{time} "));
    frame.render_widget(Table::new(rows, WIDTHS).header(heading).block(block), table);

    let inside = usize::from(picture.width.saturating_sub(2));
    let block = Block::bordered().title(" not present per second ");
    let shown = &rates[rates.len().saturating_sub(inside)..];
    frame.render_widget(Sparkline::default().data(shown).block(block), picture);
    frame.render_widget(Line::from(" q quits").dim(), keys);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::meter::tests::view;
    use super::*;

    fn drawn(width: u16, height: u16, view: Option<&View>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, "71 (qemu)", view, &[0, 3, 12])).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_view_has_the_figures_of_the_vm_and_each_core() {
        let text = drawn(120, 16, Some(&view()));
        for part in [
            "page faults of 71 (qemu), 12 s",
            "page-fault exits",
            "34   12/s",
            "virtual CPU 0, thread 72",
            "30   10/s",
            "q quits",
            "█",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(drawn(120, 16, None).contains("71 (qemu)"));
        // However small the terminal is.
        for (width, height) in [(1, 1), (20, 3), (60, 5)] {
            drawn(width, height, Some(&view()));
        }
    }

    #[test]
    fn q_escape_and_ctrl_c_quit() {
        let key = |code, modifiers| quits(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE) && key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE) && !key(KeyCode::Enter, KeyModifiers::NONE));
    }
}
