//! A command for the lab, written into the share as a shell script, which can hold any
//! bytes in arguments.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Script and exit code in the share; `images/lab/init` uses the same names.
const SCRIPT: &str = ".lab-job";
const EXIT_CODE: &str = ".lab-exit";

/// The writable share's place in the lab (`images/lab/init`).
pub const SHARE: &str = "/run/apf";

/// A command to run in the lab.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Folder of the host that the lab can write to, mounted at [`SHARE`].
    pub share: PathBuf,
    /// File on the host for the lab's kernel log.
    pub console: PathBuf,
    pub argv: Vec<OsString>,
    /// Working folder: a path of the host, or below [`SHARE`].
    pub cwd: PathBuf,
    /// Limit from power-on to the exit code, by the host's clock.
    pub timeout: Duration,
    pub time: Time,
    /// True if this program's standard input is the command's, without an end. Else it has none.
    pub input: bool,
    /// File for the emulator's list of all blocks of code with their execution counts.
    pub profile: Option<PathBuf>,
}

/// The lab's clock.
#[derive(Clone, Debug, Default)]
pub enum Time {
    /// The host's clock; the lab has the host's files.
    #[default]
    Host,
    /// An instruction count, one nanosecond each. The lab has one processor, only `files`,
    /// and random numbers that follow from `seed`.
    Instructions { files: Files, seed: u64 },
}

/// Files that an exact job has in the lab beside its share, under their paths on the host.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Programs; the libraries that they are linked with are added.
    pub programs: Vec<PathBuf>,
    /// All other files.
    pub others: Vec<PathBuf>,
}

impl Job {
    /// Writes the script.
    pub(super) fn write(&self) -> Result<()> {
        // The port that carries the output as well (`images/lab/init`).
        let redirection = if self.input { " </dev/ttyS1" } else { "" };
        let script = script(&self.argv, self.cwd.as_os_str(), redirection)?;
        let _ = fs::remove_file(self.share.join(EXIT_CODE));
        let path = self.share.join(SCRIPT);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the exit code, if the job has ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        fs::read_to_string(self.share.join(EXIT_CODE)).ok()?.trim().parse().ok()
    }
}

fn script(argv: &[OsString], cwd: &OsStr, redirection: &str) -> Result<Vec<u8>> {
    if argv.is_empty() {
        bail!("no command to run in the lab");
    }
    let mut text = b"cd -- ".to_vec();
    quote(&mut text, cwd);
    text.extend(b" || exit 126\nexec");
    for word in argv {
        text.push(b' ');
        quote(&mut text, word);
    }
    text.extend(redirection.bytes());
    text.push(b'\n');
    Ok(text)
}

/// Appends `word` in single quotes, which keep every byte except a single quote.
fn quote(text: &mut Vec<u8>, word: &OsStr) {
    text.push(b'\'');
    for &byte in word.as_bytes() {
        if byte == b'\'' { text.extend(br"'\''") } else { text.push(byte) }
    }
    text.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Cmd;

    fn strings(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_shell_reads_every_argument_unchanged() {
        let argv =
            strings(&["sh", "-c", r#"printf '%s|' "$PWD" "$@""#, "name", "a b", "it's", "", "$x\n*", "-n"]);
        let text = script(&argv, OsStr::new("/"), "").unwrap();
        let output = Cmd::new("sh").arg("-c").arg(OsStr::from_bytes(&text)).quiet().capture().unwrap();
        assert_eq!(output, "/|a b|it's||$x\n*|-n|");
    }

    #[test]
    fn a_job_reads_its_input_from_a_file() {
        let text = script(&strings(&["cat"]), OsStr::new("/"), " </proc/self/comm").unwrap();
        let output = Cmd::new("sh").arg("-c").arg(OsStr::from_bytes(&text)).quiet().capture().unwrap();
        assert_eq!(output, "cat\n");
    }

    #[test]
    fn a_job_without_a_command_is_refused() {
        assert!(script(&[], OsStr::new("/"), "").is_err());
    }
}
