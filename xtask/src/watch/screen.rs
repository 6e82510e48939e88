//! The view on a terminal, which is restored whatever ends it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Direction, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Paragraph, Row, Sparkline, Table, Wrap};

use super::figures::time;
use super::guest::Guest;
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
    let guest = view.and_then(|view| view.guest.as_ref());
    // Words may need a line more than their letters.
    let inside = usize::from(frame.area().width.saturating_sub(2)).max(1);
    let folded = |line: &String| line.chars().count().div_ceil(inside);
    let guest_height = guest.map_or(0, |guest| 2 + guest.lines().iter().map(folded).sum::<usize>());
    let guest_height = u16::try_from(guest_height).unwrap_or(u16::MAX);
    let parts = [
        Constraint::Length(height),
        Constraint::Length(guest_height),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [table, below, mut picture, keys] = Layout::vertical(parts).areas(frame.area());
    if let Some(guest) = guest {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)]).areas(picture);
        picture = left;
        draw_guest(frame, guest, below, right);
    }

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

/// Draws the guest's figures and how long its waits took.
fn draw_guest(frame: &mut Frame, guest: &Guest, area: Rect, picture: Rect) {
    let lines: Vec<_> = guest.lines().into_iter().map(Line::from).collect();
    let block = Block::bordered().title(" the guest's figures, since its start ");
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }).block(block), area);
    let halves = Layout::horizontal([Constraint::Percentage(50); 2]).areas::<2>(picture);
    let waits = guest.figures.iter().flat_map(super::figures::Figures::waits);
    for ((name, waits), half) in waits.zip(halves) {
        let bars: Vec<_> = waits
            .buckets
            .iter()
            .map(|bucket| {
                let label = bucket.at_most.map_or("more".into(), |bound| time(Some(bound)));
                Bar::default().value(bucket.count).label(Line::from(format!("{label:>6}")))
            })
            .collect();
        let chart = BarChart::default()
            .direction(Direction::Horizontal)
            .bar_width(1)
            .bar_gap(0)
            .data(BarGroup::default().bars(&bars))
            .block(Block::bordered().title(format!(" waits by {name}, at most ")));
        frame.render_widget(chart, half);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::figures::{Figures as GuestFigures, tests::TEXT};
    use super::super::guest::Ahead;
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
    fn the_guests_figures_stand_beside_the_hosts() {
        let guest = Guest {
            age_seconds: Some(7.0),
            error: Some("it does not answer in time".into()),
            host_ahead: Some(Ahead { not_present: 3, ready: 0 }),
            figures: GuestFigures::parse(TEXT),
        };
        let text = drawn(140, 24, Some(&View { guest: Some(guest.clone()), ..view() }));
        for part in [
            "running, 7 s ago; it does not answer in time; not present 34 (host +3), ready 32 (host +0)",
            "schedule 32, halt 2 (guard 2)",
            "some 50.0 0.0 0.0 % (10, 60, 300 s), 1.5 s",
            "schedule p50 5 ms, p99 -",
            "waits by schedule",
            "  5 ms",
            "more",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let silent = Guest { error: Some("no answer yet".into()), ..Guest::default() };
        assert!(drawn(140, 24, Some(&View { guest: Some(silent), ..view() })).contains("no answer yet"));
        for (width, height) in [(1, 1), (20, 3), (60, 9)] {
            drawn(width, height, Some(&View { guest: Some(guest.clone()), ..view() }));
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
