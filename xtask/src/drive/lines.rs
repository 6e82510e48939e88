//! A process's output, line by line, kept in a log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Cmd, Running};

/// A line longer than this is garbage.
const LONGEST: u64 = 1 << 20;

/// A reader that counts what it reads.
struct Counting<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Lines of all that is written to one pipe.
pub struct Lines {
    lines: Receiver<String>,
    heard: Arc<AtomicU64>,
}

impl Lines {
    /// Returns the lines of what will be written to a new pipe, which goes to the file `log` as well.
    /// They end when every copy of the pipe is closed.
    pub fn new(log: &Path) -> Result<(Self, PipeWriter)> {
        let mut log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let (reader, writer) = io::pipe().context("no pipe for a process's output")?;
        let (sender, lines) = mpsc::channel();
        let heard = Arc::new(AtomicU64::new(0));
        let counting = Counting { reader, count: heard.clone() };
        thread::spawn(move || {
            let mut reader = BufReader::new(counting);
            let mut line = Vec::new();
            while reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                // A full disk must not stop the run.
                let _ = log.write_all(&line);
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Ok((Self { lines, heard }, writer))
    }

    /// Returns the next line within `patience`.
    pub fn next(&self, patience: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.recv_timeout(patience)
    }

    /// Returns the bytes so far, also of a line that has not ended.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Starts `command` with all its output written to `output`.
pub fn spawn(mut command: Cmd, output: PipeWriter) -> Result<Running> {
    command.std().stderr(output.try_clone()?).stdout(output);
    command.quiet().spawn()
}
