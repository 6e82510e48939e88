//! Progress line of a long step: a spinner on a terminal, elsewhere a line every 15 s.
//! A step of less than two seconds has none.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A shorter step has no line.
const QUIET: Duration = Duration::from_secs(2);
/// Time between two lines where there is no terminal.
const REPEAT: Duration = Duration::from_secs(15);

/// A step in progress; it ends when dropped.
pub struct Step {
    text: Arc<Mutex<String>>,
    bar: ProgressBar,
    stop: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Step {
    /// Starts a step; `text` names the activity, as in "building the kernel".
    pub fn start(text: impl Into<String>) -> Self {
        let text = text.into();
        let terminal = stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(
            ProgressStyle::with_template("  {spinner} {msg}, {elapsed}").expect("a constant template"),
        );
        bar.set_message(text.clone());
        let started = Instant::now();
        let text = Arc::new(Mutex::new(text));
        let (sender, receiver) = mpsc::channel();
        let ticker = {
            let (text, bar) = (text.clone(), bar.clone());
            thread::spawn(move || {
                let mut wait = QUIET;
                while receiver.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    if terminal {
                        bar.tick();
                        wait = Duration::from_millis(100);
                    } else {
                        let text = text.lock().unwrap_or_else(PoisonError::into_inner);
                        eprintln!("  … {text}, {} s", started.elapsed().as_secs());
                        wait = REPEAT;
                    }
                }
            })
        };
        Self { text, bar, stop: Some((sender, ticker)) }
    }

    /// Changes the text.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        // Also kept for the ticker, which draws nothing before the quiet time is over.
        self.bar.set_message(text.clone());
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Prints a line to standard output without tearing the spinner.
    pub fn println(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some((sender, ticker)) = self.stop.take() {
            let _ = sender.send(());
            let _ = ticker.join();
        }
        self.bar.finish_and_clear();
    }
}
