//! One external command: echoed before it runs, limited in time, its output captured,
//! logged or passed on.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::guard;
use super::progress::Step;

/// Number of log lines shown when a command fails.
const TAIL_LINES: usize = 15;

/// A command to run.
pub struct Cmd {
    inner: Command,
    words: Vec<OsString>,
    echo: bool,
    doing: Option<String>,
    timeout: Option<Duration>,
}

/// Output and exit status of a captured command.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Cmd {
    /// Makes a command whose standard input is empty.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = Command::new(&program);
        inner.stdin(Stdio::null());
        Self { inner, words: vec![program.as_ref().into()], echo: true, doing: None, timeout: None }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.words.push(arg.as_ref().into());
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }

    /// Sets a variable in the command's environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Removes a variable from the command's environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.inner.env_remove(name);
        self
    }

    /// Sets the working folder.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Turns the echo off, for queries such as `--version`.
    pub fn quiet(mut self) -> Self {
        self.echo = false;
        self
    }

    /// Sets the text of the progress line; without it the program's name is shown.
    pub fn doing(mut self, text: impl Into<String>) -> Self {
        self.doing = Some(text.into());
        self
    }

    /// Sets the time after which the command and all its children are killed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Gives access to the underlying builder, for example to set the standard streams.
    pub fn std(&mut self) -> &mut Command {
        &mut self.inner
    }

    /// Returns the command as typed in a shell.
    pub fn line(&self) -> String {
        self.words.iter().map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    fn name(&self) -> String {
        Path::new(&self.words[0]).file_name().unwrap_or(&self.words[0]).to_string_lossy().into_owned()
    }

    /// Starts it, with the streams that were set through [`Cmd::std`].
    pub fn spawn(mut self) -> Result<Running> {
        if self.echo {
            println!("$ {}", self.line());
        }
        let child =
            guard::spawn(&mut self.inner).with_context(|| format!("cannot start `{}`", self.name()))?;
        Ok(Running { name: self.name(), child, done: None })
    }

    /// Runs it and returns its output, whatever its exit status.
    pub fn output(mut self) -> Result<Output> {
        self.inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (limit, step) = self.start();
        let mut running = self.spawn()?;
        // Reader threads: the child dies with the thread that spawned it, which is this one.
        let stdout = read_all(running.child.stdout.take());
        let stderr = read_all(running.child.stderr.take());
        let status = running.finish(limit)?;
        drop(step);
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// It cannot be started, takes too long, or fails; the error then has its last lines.
    pub fn capture(self) -> Result<String> {
        let name = self.name();
        let output = self.output()?;
        if !output.status.success() {
            bail!("`{name}` failed ({}):\n{}", describe(output.status), tail(&output.stderr, TAIL_LINES));
        }
        Ok(output.stdout)
    }

    /// Runs it with its output written to the file `log`.
    ///
    /// # Errors
    /// It cannot be started, takes too long, or fails; the error then has the log's last lines.
    pub fn logged(mut self, log: &Path) -> Result<()> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        self.inner.stdout(file.try_clone()?).stderr(file);
        let (limit, step) = self.start();
        let name = self.name();
        let status = self.spawn()?.finish(limit);
        drop(step);
        let failed = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => format!("`{name}` failed ({})", describe(status)),
            Err(error) => format!("{error:#}"),
        };
        let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        bail!("{failed}; its last lines, from {}:\n{}", log.display(), tail(&text, TAIL_LINES))
    }

    fn start(&self) -> (Option<Duration>, Step) {
        (self.timeout, Step::start(self.doing.clone().unwrap_or_else(|| format!("running {}", self.name()))))
    }
}

/// A started command. Dropping it kills its whole group.
pub struct Running {
    name: String,
    /// For its streams only; waiting goes through this type.
    pub child: Child,
    done: Option<ExitStatus>,
}

impl Running {
    /// Returns its process id, which is also its group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Copies this program's standard input to that of the command, if it is a pipe, in a thread. The
    /// command is in a process group of its own, in which it may not read a terminal.
    pub fn pass_input_on(&mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            // Ends with either of them.
            thread::spawn(move || copy_at_once(&mut io::stdin().lock(), &mut pipe));
        }
    }

    /// Waits up to `limit`, without one for ever. `Ok(None)`: it still runs.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        // Growing pauses: a short command returns at once, a long one costs little polling.
        let mut pause = Duration::from_millis(1);
        loop {
            if self.done.is_none() {
                self.done =
                    self.child.try_wait().with_context(|| format!("cannot wait for `{}`", self.name))?;
            }
            if self.done.is_some() || limit.is_some_and(|limit| started.elapsed() >= limit) {
                return Ok(self.done);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Waits for its end, and kills it at `limit`.
    pub fn finish(mut self, limit: Option<Duration>) -> Result<ExitStatus> {
        match self.wait(limit)? {
            Some(status) => Ok(status),
            None => bail!(
                "`{}` took longer than {} s and was stopped",
                self.name,
                limit.unwrap_or_default().as_secs()
            ),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        guard::finish(&mut self.child);
    }
}

/// Describes how a command ended.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => status.to_string(),
    }
}

/// Returns the last `count` lines of a text that are not blank, indented.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    last.iter().map(|line| format!("    {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { shell_quote(word) }
}

/// Puts a word in single quotes, whatever it contains.
pub fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns `path` if it exists.
pub fn must_exist(path: PathBuf, what: &str) -> Result<PathBuf> {
    if path.exists() { Ok(path) } else { bail!("{what} is missing: {}", path.display()) }
}

/// Copies what is there as it comes; [`io::copy`] may wait for more.
fn copy_at_once(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).and_then(|()| to.flush())?,
        }
    }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // A read error only cuts the text short; the exit status decides.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_returns_its_output_and_exit_status() {
        let output = Cmd::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).quiet().output().unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_command_past_its_limit_is_killed_with_its_children() {
        let started = Instant::now();
        // Without the group being killed, `sleep` would hold the pipe for a minute.
        let result = Cmd::new("sh")
            .args(["-c", "sleep 60 & sleep 60"])
            .quiet()
            .timeout(Duration::from_millis(200))
            .output();
        assert!(format!("{:#}", result.unwrap_err()).contains("took longer"));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_would_split_them() {
        assert_eq!(shell_word("--root=/a/b-1.0"), "--root=/a/b-1.0");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn the_tail_skips_blank_lines() {
        assert_eq!(tail("a\n\nb\nc\n\n", 2), "    b\n    c");
    }
}
