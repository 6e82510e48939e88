//! A machine that QEMU emulates, where KVM is not the point.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Xtask, wait};

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
    /// QEMU's exit code; -1 if the machine was still running.
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

/// Boots a machine with `args`, and ends it past `limit`.
#[must_use]
pub fn boot(args: &[impl AsRef<OsStr>], limit: Duration) -> Said {
    let qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", "max", "-m", "256M", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-device", EXIT])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    let output = wait(qemu, limit);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    Said { code: output.status.code().unwrap_or(-1), text: text.into_owned() }
}
