//! A machine that QEMU emulates, where KVM is not the point.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Xtask;

/// Where Hermit and the loader leave QEMU, with twice what they write there plus one.
const EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";

/// What `cargo xtask build` says it has built.
#[derive(Debug)]
pub struct Built {
    text: String,
}

impl Built {
    /// Builds everything.
    ///
    /// # Panics
    /// It does not compile.
    #[must_use]
    pub fn new(xtask: &Xtask) -> Self {
        let built = xtask.call(&["build"]);
        assert_eq!(built.code(), 0, "{}", built.text);
        Self { text: built.text }
    }

    /// The file of the product `name`.
    #[must_use]
    pub fn file(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text)).trim()
    }
}

/// What a machine printed on its serial line, and QEMU's exit code.
#[derive(Debug)]
pub struct Said {
    /// QEMU's exit code; -1 if the machine was still running and was ended.
    pub code: i32,
    /// The serial line, and what QEMU itself had to say.
    pub text: String,
}

/// Whether QEMU is there; says that the test `name` is skipped if it is not.
#[must_use]
pub fn is_there(name: &str) -> bool {
    let found = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIPPED: {name}: qemu-system-x86_64 is not installed");
    }
    found
}

/// Boots a machine with `args`; ends it when it has said `last`, or past `limit`.
///
/// # Panics
/// QEMU cannot be started.
#[must_use]
pub fn boot(args: &[impl AsRef<OsStr>], last: Option<&str>, limit: Duration) -> Said {
    let started = Instant::now();
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", "max", "-m", "256M", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-device", EXIT])
        .args(args)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("a pipe"))
        .stderr(writer)
        .spawn()
        .expect("QEMU starts");
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut text = String::new();
    let mut code = -1;
    loop {
        match lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
            Ok(line) => {
                println!("{line}");
                text = text + &line + "\n";
                if last.is_some_and(|last| line.contains(last)) {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => break,
            // Its output is closed: it has ended.
            Err(RecvTimeoutError::Disconnected) => {
                code = qemu.wait().expect("QEMU ends").code().unwrap_or(-1);
                break;
            }
        }
    }
    // It may have ended already.
    let _ = qemu.kill();
    let _ = qemu.wait();
    drop(lines);
    reader.join().expect("the reader ends with QEMU");
    Said { code, text }
}
