//! The unikernel's program for Linux, and the initramfs that holds only that.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::app;
use super::guest::cargo;
use crate::dirs;
use crate::process::cargo::HOST_TARGET;
use crate::process::{Scratch, command};
use crate::setup::Tools;

/// The program for Linux.
#[derive(Debug)]
pub struct Program {
    /// The initramfs, with the program as `/init`.
    pub initramfs: PathBuf,
    /// The program with its symbols.
    pub symbols: PathBuf,
}

/// Builds the program, statically linked, with the unikernel's compiler and options.
pub fn build(tools: &Tools) -> Result<Program> {
    let folder = dirs::sub("linux")?;
    cargo(tools.toolchain.get()?)
        .args([
            "build",
            "--locked",
            "--release",
            "--bin",
            "unikernel",
            "--target",
            HOST_TARGET,
            "--target-dir",
        ])
        .arg(&folder)
        // The initramfs has no libraries.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .cwd(dirs::root().join("unikernel"))
        .quiet()
        .doing("building the program for Linux")
        .logged(&dirs::log("linux-build")?)
        .context("the program cannot be built for Linux")?;
    let symbols =
        command::must_exist(folder.join(HOST_TARGET).join("release/unikernel"), "the program for Linux")?;
    let program = Scratch::guard(folder.join(format!("init.{}", std::process::id())));
    app::without_symbols(tools, &symbols, program.path())?;
    // Moved into place: another run may be booting it.
    let initramfs = folder.join("initramfs.cpio");
    let new = Scratch::guard(program.path().with_extension("cpio"));
    crate::setup::initramfs::of_program(new.path(), program.path())
        .context("cannot make the Linux guest's initramfs")?;
    fs::rename(new.path(), &initramfs).with_context(|| format!("cannot write {}", initramfs.display()))?;
    Ok(Program { initramfs, symbols })
}
