//! What is to be run in the lab: written into the share as a shell script, which
//! takes any bytes in arguments and variables.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The job's script, in the share. `images/lab/init` knows these names.
const SCRIPT: &str = ".lab-job";
const EXIT_CODE: &str = ".lab-exit";

/// The writable share's place in the lab (`images/lab/init`).
pub const SHARE: &str = "/run/apf";

/// The disk of a job that has one.
pub const DISK: &str = "/dev/vda";

/// A command for the lab.
#[derive(Clone, Debug)]
pub struct Job {
    /// A folder of the host that the lab can write to; mounted at [`SHARE`].
    pub share: PathBuf,
    /// Where the lab's kernel log goes.
    pub console: PathBuf,
    pub argv: Vec<OsString>,
    pub env: Vec<(String, OsString)>,
    /// The folder it runs in: a path of the host, or below [`SHARE`].
    pub cwd: PathBuf,
    /// From power-on to the exit code, by the host's clock.
    pub timeout: Duration,
    /// Size of an empty disk that it has, as [`DISK`].
    pub disk_mib: Option<u32>,
    pub time: Time,
    /// Where the emulator is to list all blocks of code and how often they ran, if at all.
    pub profile: Option<PathBuf>,
}

/// Whose time passes in the lab.
#[derive(Clone, Debug)]
pub enum Time {
    /// The host's, and the host's files are there.
    Host,
    /// Its own: one instruction is one nanosecond. There is one processor, no files
    /// but these, and random numbers are those that follow from the seed.
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
    ///
    /// # Errors
    /// No command, a name that cannot be a variable's, or the share is not writable.
    pub(super) fn write(&self) -> Result<()> {
        let script = script(&self.argv, &self.env, self.cwd.as_os_str())?;
        let _ = fs::remove_file(self.share.join(EXIT_CODE));
        let path = self.share.join(SCRIPT);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The exit code it left, if it came to its end.
    pub(super) fn exit_code(&self) -> Option<i32> {
        fs::read_to_string(self.share.join(EXIT_CODE)).ok()?.trim().parse().ok()
    }
}

fn script(argv: &[OsString], env: &[(String, OsString)], cwd: &OsStr) -> Result<Vec<u8>> {
    if argv.is_empty() {
        bail!("no command to run in the lab");
    }
    let mut text = Vec::new();
    for (name, value) in env {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(valid) {
            bail!("`{name}` cannot be the name of an environment variable");
        }
        text.extend(format!("export {name}=").bytes());
        quote(&mut text, value);
        text.push(b'\n');
    }
    text.extend(b"cd -- ");
    quote(&mut text, cwd);
    text.extend(b" || exit 126\nexec");
    for word in argv {
        text.push(b' ');
        quote(&mut text, word);
    }
    text.push(b'\n');
    Ok(text)
}

/// Single quotes keep every byte but themselves.
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
    fn a_shell_gives_back_every_argument_and_variable() {
        let argv = strings(&[
            "sh",
            "-c",
            r#"printf '%s|' "$A" "$PWD" "$@""#,
            "name",
            "a b",
            "it's",
            "",
            "$x\n*",
            "-n",
        ]);
        let text = script(&argv, &[("A".into(), "v'w".into())], OsStr::new("/")).unwrap();
        let output = Cmd::new("sh").arg("-c").arg(OsStr::from_bytes(&text)).quiet().capture().unwrap();
        assert_eq!(output, "v'w|/|a b|it's||$x\n*|-n|");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(script(&[], &[], OsStr::new("/")).is_err());
        assert!(script(&strings(&["true"]), &[("A B".into(), "".into())], OsStr::new("/")).is_err());
    }
}
