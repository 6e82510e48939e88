//! A line that lives while something takes long: a spinner on a terminal, a plain
//! line now and then elsewhere. Nothing at all for what is over in two seconds.

use std::{
    io::{IsTerminal, stderr},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Shorter than this, a step needs no line.
const QUIET: Duration = Duration::from_secs(2);
/// Without a terminal: how often a long step says that it is alive.
const REPEAT: Duration = Duration::from_secs(15);

/// Something that is going on. Ends when dropped.
pub struct Step {
    text: Arc<Mutex<String>>,
    bar: ProgressBar,
    stop: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Step {
    /// Starts the clock; `text` says what is being done: "building the kernel".
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

    /// Changes what is being done, or how far it is.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        // Kept for the ticker: nothing is drawn before the quiet time is over.
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
