//! The guest's console, line by line, kept in a log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Cmd, Running};

/// A line longer than this is garbage.
const LONGEST_LINE: u64 = 1 << 20;

/// Next event of a guest.
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Nothing yet.
    None,
    /// The VMM has ended.
    End(ExitStatus),
}

/// A running VMM.
pub struct Guest {
    vmm: Running,
    lines: Receiver<String>,
}

impl Guest {
    /// Starts `vmm`; everything it prints goes to the file `console` as well.
    ///
    /// # Errors
    /// The VMM cannot be started.
    pub fn start(mut vmm: Cmd, console: &Path) -> Result<Self> {
        let mut log = File::create(console).with_context(|| format!("cannot write {}", console.display()))?;
        let (reader, writer) = std::io::pipe().context("no pipe for the guest's console")?;
        vmm.std().stderr(writer.try_clone()?).stdout(writer).stdin(Stdio::null());
        let vmm = vmm.quiet().spawn()?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                // A full disk must not stop the run.
                let _ = log.write_all(&line);
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Ok(Self { vmm, lines })
    }

    /// The VMM's process.
    pub fn id(&self) -> u32 {
        self.vmm.id()
    }

    /// Returns the guest's next line within `patience`.
    ///
    /// # Errors
    /// The VMM has closed its output but does not end.
    pub fn next(&mut self, patience: Duration) -> Result<Line> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Line::Text(line)),
            Err(RecvTimeoutError::Timeout) => Ok(Line::None),
            // Its output is closed: it has ended, or is about to.
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.vmm.wait(Some(Duration::from_secs(10)))?;
                Ok(Line::End(status.context("the VMM has closed its output and does not end")?))
            }
        }
    }
}
