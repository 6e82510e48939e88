//! A command that runs beside a program and uses it: its client.
//!
//! It asks for what the host can do by a line of its output, and reads the reply as a line of its
//! input, so that any shell script can:
//!
//! ```sh
//! echo @evict; read -r pages     # all that the run evicts, now
//! echo @counts; read -r counts   # counts so far, one JSON object
//! echo @learn; read -r pages     # pages touched since then come ahead of their faults after the next one
//! echo @restore; read -r pages   # under QEMU: saved, and restored in another VMM with all memory out
//! ```

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::guest::Line;
use super::lines::{self, Lines};
use crate::process::{Cmd, Running};

/// Log of its output.
pub const LOG: &str = "client.log";

/// A client to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Text for a shell.
    pub command: String,
    /// It starts when a line of the program has this text; without it, with the VMM.
    pub at: Option<String>,
    pub folder: PathBuf,
}

/// Something that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// An eviction, as the run's options say.
    Evict,
    /// The counts so far.
    Counts,
    /// That the pages touched since the last eviction come ahead of their faults after the next one.
    Learn,
    /// A restore of the guest in another VMM, from a snapshot, with all of its memory evicted.
    Restore,
}

impl Request {
    /// Returns the request that `line` is, if it is one.
    pub fn of(line: &str) -> Option<Self> {
        match line {
            "@evict" => Some(Self::Evict),
            "@counts" => Some(Self::Counts),
            "@learn" => Some(Self::Learn),
            "@restore" => Some(Self::Restore),
            _ => None,
        }
    }
}

/// A running client.
pub struct RunningClient {
    process: Running,
    lines: Lines,
}

impl Client {
    /// Starts it, with its output also in the file `log`.
    pub fn start(&self, log: &Path) -> Result<RunningClient> {
        let (lines, output) = Lines::new(log)?;
        let mut command = Cmd::new("/bin/sh").args(["-c", &self.command]).cwd(&self.folder);
        command.std().stdin(Stdio::piped());
        Ok(RunningClient { process: lines::spawn(command, output)?, lines })
    }
}

impl RunningClient {
    /// Returns its next line, if there is one already.
    pub fn next(&mut self) -> Result<Line> {
        match self.lines.next(Duration::ZERO) {
            Ok(line) => Ok(Line::Text(line)),
            Err(RecvTimeoutError::Timeout) => Ok(Line::None),
            // Its output is closed; it may still work.
            Err(RecvTimeoutError::Disconnected) => {
                Ok(self.process.wait(Some(Duration::ZERO))?.map_or(Line::None, Line::End))
            }
        }
    }

    /// Replies to a request.
    pub fn reply(&mut self, text: &str) {
        if let Some(input) = &mut self.process.child.stdin {
            // It need not read the reply.
            let _ = writeln!(input, "{text}");
        }
    }
}

/// Returns the exit code that a shell would have for a process that ended so.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    fn client(command: &str) -> (crate::process::Scratch, RunningClient) {
        let scratch = dirs::scratch("client-test").unwrap();
        let client = Client { command: command.into(), at: None, folder: "/".into() };
        let running = client.start(&scratch.path().join(LOG)).unwrap();
        (scratch, running)
    }

    /// Returns the next line, or the exit code at the end.
    fn wait(client: &mut RunningClient) -> Result<String, u8> {
        for _ in 0..1000 {
            match client.next().unwrap() {
                Line::Text(line) => return Ok(line),
                Line::End(status) => return Err(exit_code(status)),
                Line::None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("nothing for ten seconds");
    }

    #[test]
    fn a_line_of_a_client_is_a_request_or_text() {
        assert_eq!(Request::of("@evict"), Some(Request::Evict));
        assert_eq!(Request::of("@counts"), Some(Request::Counts));
        assert_eq!(Request::of("@learn"), Some(Request::Learn));
        assert_eq!(Request::of("@restore"), Some(Request::Restore));
        for text in ["", "@", "@evict now", " @evict", "evict"] {
            assert_eq!(Request::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_client_reads_the_reply_to_its_request() {
        let (_scratch, mut client) = client("echo @evict; read -r pages; echo got $pages >&2; exit 7");
        assert_eq!(wait(&mut client), Ok("@evict".into()));
        client.reply("64");
        assert_eq!(wait(&mut client), Ok("got 64".into()));
        assert_eq!(wait(&mut client), Err(7));
    }
}
