//! The guest's console, line by line, kept in a log.

use std::fs;
use std::io::PipeWriter;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use signal_hook::consts::SIGKILL;

use super::lines::{self, Lines};
use crate::process::{Cmd, Running, command};

/// Time for a VMM that is about to end, and for its last lines.
const GRACE: Duration = Duration::from_secs(1);
/// Time for a VMM to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The longest part of a line in an error.
const SHOWN: usize = 200;

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
    /// Open only while the console may go on in another VMM.
    console: Option<PipeWriter>,
    lines: Lines,
    /// The last line so far that says something.
    last_line: String,
    /// Processes that the kernel had ended for lack of memory before the VMM started.
    out_of_memory: u64,
}

impl Guest {
    /// Starts `vmm`; everything it prints goes to the file `console` as well.
    pub fn start(vmm: Cmd, console: &Path) -> Result<Self> {
        Self::start_with(vmm, console).map(|(guest, _)| guest)
    }

    /// Starts `vmm` with this program's standard input.
    pub fn start_with_input(mut vmm: Cmd, console: &Path) -> Result<Self> {
        vmm.std().stdin(Stdio::piped());
        let mut guest = Self::start(vmm, console)?;
        guest.vmm.pass_input_on();
        Ok(guest)
    }

    /// Starts `vmm` for a guest that will leave it ([`start_next`](Self::start_next)).
    pub fn start_to_move(vmm: Cmd, console: &Path) -> Result<Self> {
        let (guest, writer) = Self::start_with(vmm, console)?;
        Ok(Self { console: Some(writer), ..guest })
    }

    fn start_with(vmm: Cmd, console: &Path) -> Result<(Self, PipeWriter)> {
        let (lines, writer) = Lines::new(console)?;
        let vmm = lines::spawn(vmm, writer.try_clone()?)?;
        let out_of_memory = out_of_memory_kills();
        Ok((Self { vmm, console: None, lines, last_line: String::new(), out_of_memory }, writer))
    }

    /// Starts the VMM in which the guest will go on.
    pub fn start_next(&self, vmm: Cmd) -> Result<Running> {
        lines::spawn(vmm, self.console.as_ref().context("a guest that does not move")?.try_clone()?)
    }

    /// Waits for the end of the VMM that the guest has left.
    pub fn leave(&mut self) -> Result<()> {
        self.vmm.wait(Some(END_LIMIT))?.context("the VMM that the guest has left does not end").map(drop)
    }

    /// Goes on with `next`, after [`leave`](Self::leave).
    pub fn go_on_in(&mut self, next: Running) {
        self.vmm = next;
    }

    /// The VMM's process.
    pub fn id(&self) -> u32 {
        self.vmm.id()
    }

    /// Returns the bytes of the console so far: a long line takes a serial port a minute.
    pub fn heard(&self) -> u64 {
        self.lines.heard()
    }

    /// Returns whether the VMM has ended, or is about to.
    pub fn has_ended(&mut self) -> bool {
        self.vmm.wait(Some(GRACE)).is_ok_and(|status| status.is_some())
    }

    /// Describes the VMM's end: how, and its last line.
    pub fn obituary(&self, status: ExitStatus) -> String {
        obituary(status, out_of_memory_kills() > self.out_of_memory, &self.last_line)
    }

    fn remember(&mut self, line: &str) {
        // After a panic's message comes a note that says nothing of its cause.
        let is_note = line.starts_with("note: run with `RUST_BACKTRACE=");
        if !line.trim().is_empty() && !is_note {
            line.trim().clone_into(&mut self.last_line);
        }
    }

    /// Adds the VMM's end to an error, if it has ended: how, and its last line.
    pub fn explain(&mut self, error: Error) -> Error {
        let Ok(Some(status)) = self.vmm.wait(Some(GRACE)) else { return error };
        while let Ok(line) = self.lines.next(GRACE) {
            self.remember(&line);
        }
        anyhow!("{error:#} ({})", self.obituary(status))
    }

    /// Returns the guest's next line within `patience`.
    ///
    /// # Errors
    /// The VMM has closed its output but does not end.
    pub fn next(&mut self, patience: Duration) -> Result<Line> {
        match self.lines.next(patience) {
            Ok(line) => {
                self.remember(&line);
                Ok(Line::Text(line))
            }
            // While its console is kept open, its end cannot be heard.
            Err(RecvTimeoutError::Timeout) if self.console.is_some() => {
                Ok(self.vmm.wait(Some(Duration::ZERO))?.map_or(Line::None, Line::End))
            }
            Err(RecvTimeoutError::Timeout) => Ok(Line::None),
            // Its output is closed: it has ended, or is about to.
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.vmm.wait(Some(END_LIMIT))?;
                Ok(Line::End(status.context("the VMM has closed its output and does not end")?))
            }
        }
    }
}

/// Processes that the kernel has ended for lack of memory since it started.
fn out_of_memory_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or_default()
}

fn obituary(status: ExitStatus, out_of_memory: bool, last_line: &str) -> String {
    let cause = match status.signal() {
        Some(SIGKILL) if out_of_memory => {
            ": the kernel ended it because the host, or the VMM's memory limit, was out of memory; \
             use less --memory and --region-mib"
        }
        _ => "",
    };
    let last: String = last_line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let last = if last.is_empty() { "it printed nothing".into() } else { format!("its last line: {last}") };
    format!("{}{cause}; {last}", command::describe(status))
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::dirs;

    /// Runs a shell script in a VMM's place until it ends, and explains an error then.
    fn explained(script: &str) -> Result<String> {
        let scratch = dirs::scratch("guest-test")?;
        let vmm = Cmd::new("sh").arg("-c").arg(script);
        let mut guest = Guest::start(vmm, &scratch.path().join("console"))?;
        let read = guest.next(Duration::from_secs(10))?;
        assert!(matches!(read, Line::Text(_)));
        Ok(guest.explain(anyhow!("it failed")).to_string())
    }

    #[test]
    fn an_error_has_the_vmms_end_and_its_last_line() {
        let text = explained("echo first; echo 'no memory: panic' >&2; echo; exit 101").unwrap();
        assert_eq!(text, "it failed (exit code 101; its last line: no memory: panic)");
        let text =
            explained("echo no /dev/kvm; echo 'note: run with `RUST_BACKTRACE=1` …'; exit 101").unwrap();
        assert_eq!(text, "it failed (exit code 101; its last line: no /dev/kvm)");
        let text = explained("echo first; kill -9 $$").unwrap();
        assert!(text.starts_with("it failed (killed by signal 9") && text.contains("first"), "{text}");
        assert_eq!(explained("echo first; sleep 20").unwrap(), "it failed", "it still runs");
    }

    #[test]
    fn an_obituary_names_the_want_of_memory() {
        let killed = ExitStatus::from_raw(SIGKILL);
        assert!(obituary(killed, true, "x").contains("out of memory"));
        assert!(!obituary(killed, false, "x").contains("out of memory"));
        assert!(!obituary(ExitStatus::from_raw(0), true, "x").contains("out of memory"));
    }
}
