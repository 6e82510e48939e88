//! A machine that QEMU emulates, for tests that need no KVM.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Xtask;

/// Device through which Hermit and the loader end QEMU, with twice their code plus one.
const EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";

/// Output of `cargo xtask build`.
#[derive(Debug)]
pub struct Built {
    text: String,
}

impl Built {
    /// Builds everything.
    pub fn new(xtask: &Xtask) -> Self {
        let built = xtask.call(&["build"]);
        assert_eq!(built.code(), 0, "{}", built.text);
        Self { text: built.text }
    }

    /// Returns the file of the product `name`.
    pub fn file(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text)).trim()
    }
}

/// Output of a machine, and QEMU's exit code.
#[derive(Debug)]
pub struct Ran {
    /// QEMU's exit code; -1 if the test ended the machine.
    pub code: i32,
    /// Output of the serial line, and of QEMU itself.
    pub text: String,
}

/// Returns whether QEMU is installed; if not, prints that the test `name` is skipped.
pub fn is_there(name: &str) -> bool {
    let found = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIPPED: {name}: qemu-system-x86_64 is not installed");
    }
    found
}

/// Boots a machine with `args`; ends it when it has printed `last`, or after `limit`.
pub fn boot(args: &[impl AsRef<OsStr>], last: Option<&str>, limit: Duration) -> Ran {
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
            // Its output is closed, so it has ended.
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
    Ran { code, text }
}
