//! Calls of `cargo xtask`, as a user makes them.
//!
//! `cargo xtask test` names the program to call in `APF_XTASK`; without the variable these
//! tests are skipped, with a message.

pub mod emulated;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;

/// Time limit of one call, compilation included.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// `cargo xtask` for one test, with an output folder of its own.
#[derive(Debug)]
pub struct Xtask {
    program: PathBuf,
    out: PathBuf,
}

/// Output and exit status of a call.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output and standard error.
    pub text: String,
}

impl Ended {
    /// Returns the exit code; -1 after a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Returns the lines that start with `error:`.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| line.starts_with("error:"))
    }
}

impl Xtask {
    /// Finds the program for the test `name`; `None`, with a message, if there is none.
    pub fn find(name: &str) -> Option<Self> {
        let Some(program) = env::var_os("APF_XTASK") else {
            println!("SKIPPED: {name}: run the tests with `cargo xtask test`");
            return None;
        };
        let out = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/apf/tests").join(name);
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).expect("a folder for the test");
        Some(Self { program: program.into(), out })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Calls the program and waits for its end.
    pub fn call(&self, args: &[&str]) -> Ended {
        self.call_with(&[], args)
    }

    /// Calls the program with variables in its environment and waits for its end.
    pub fn call_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        ended(command.spawn().expect("cargo xtask starts"))
    }

    /// Calls the program with nobody to read its standard output, and waits for its end.
    pub fn call_unread(&self, args: &[&str]) -> Ended {
        let mut child = self.command(args).spawn().expect("cargo xtask starts");
        drop(child.stdout.take());
        ended(child)
    }

    /// Runs a shell's script, with the program as `$0` and `arg` as `$1`.
    pub fn in_shell(&self, script: &str, arg: &str) -> Ended {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&self.program).arg(arg);
        ended(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell starts"))
    }

    /// Calls `cargo xtask run` with the folder of this test.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.call(&self.with_folder(&["run"], args))
    }

    /// Calls `cargo xtask check` with the folder of this test.
    pub fn check(&self, args: &[&str]) -> Ended {
        self.call(&self.with_folder(&["check"], args))
    }

    /// Calls `cargo xtask experiment run` with the folder of this test.
    pub fn experiment(&self, args: &[&str]) -> Ended {
        self.call(&self.with_folder(&["experiment", "run"], args))
    }

    /// Starts a verb with the folder of this test and leaves it running.
    pub fn start(&self, verb: &[&str], args: &[&str]) -> Child {
        self.command(&self.with_folder(verb, args)).spawn().expect("cargo xtask starts")
    }

    fn with_folder<'a>(&'a self, verb: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
        [verb, &["--out", self.out.to_str().expect("a UTF-8 path")], args].concat()
    }

    /// Returns the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the folder of this test.
    pub fn folder(&self) -> &Path {
        &self.out
    }

    /// Reads the document of the experiment `name`, if it wrote one.
    pub fn document(&self, name: &str) -> Option<Value> {
        read(&self.out.join(name))
    }

    /// Counts the samples of the experiment `name` that have been recorded so far.
    pub fn samples_so_far(&self, name: &str) -> usize {
        let record = fs::read_to_string(self.out.join(name).join("run/record.jsonl")).unwrap_or_default();
        record.lines().filter(|line| line.contains("\"entry\":\"sample\"")).count()
    }

    /// Reads the report of the last checks, if they wrote one.
    pub fn report(&self) -> Option<Value> {
        read(&self.out)
    }

    /// Reads the guest's output in a run, or in checks.
    pub fn console(&self) -> String {
        let of = |folder| fs::read_to_string(self.out.join(folder).join("guest-console.log")).ok();
        ["run/run", "run"].into_iter().find_map(of).unwrap_or_default()
    }

    /// Waits up to `limit` until the guest has printed `text`; returns whether it has.
    pub fn guest_says(&self, text: &str, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            if self.console().contains(text) {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    }
}

fn read(folder: &Path) -> Option<Value> {
    let text = fs::read(folder.join("report.json")).ok()?;
    Some(serde_json::from_slice(&text).expect("report.json is JSON"))
}

fn ended(child: Child) -> Ended {
    let Output { status, stdout, stderr } = wait(child, LIMIT);
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    println!("{text}");
    Ended { status, text: text.into_owned() }
}

/// Waits for a child's end, and ends it after `limit`.
pub fn wait(child: Child, limit: Duration) -> Output {
    let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (done, timer) = std::sync::mpsc::channel::<()>();
    let killer = thread::spawn(move || {
        if timer.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        }
    });
    let output = child.wait_with_output().expect("the child's output");
    drop(done);
    killer.join().expect("the timer");
    output
}

/// Lists `ancestor` and the processes that descend from it, with their command lines.
pub fn family(ancestor: u32) -> Vec<(u32, String)> {
    let mut members = vec![(ancestor, String::new())];
    let all: Vec<(u32, u32, String)> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            let command = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?.replace('\0', " ");
            Some((id, parent, command))
        })
        .collect();
    let mut next = 0;
    while let Some(&(parent, _)) = members.get(next) {
        members.extend(all.iter().filter(|(_, p, _)| *p == parent).map(|(id, _, c)| (*id, c.clone())));
        next += 1;
    }
    members
}

/// Returns a document's samples.
pub fn samples(document: &Value) -> &[Value] {
    document["samples"].as_array().expect("samples")
}

/// Returns a document's first sample in this mode.
pub fn sample<'a>(document: &'a Value, mode: &str) -> &'a Value {
    let of_mode = samples(document).iter().find(|sample| sample["mode"] == mode);
    of_mode.unwrap_or_else(|| panic!("no sample {mode}"))
}

/// Reads a number in a report by its path: `number(&sample, "counts.not_present")`.
pub fn number(report: &Value, path: &str) -> f64 {
    let value = path.split('.').fold(report, |value, name| &value[name]);
    value.as_f64().unwrap_or_else(|| panic!("{path} is {value} in the report"))
}
