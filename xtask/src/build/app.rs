//! The unikernel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::guest_cargo;
use crate::dirs;
use crate::process::command;
use crate::setup::Tools;

/// Builds the unikernel, std included, and links it with the kernel archive in
/// the folder `archive`.
///
/// # Errors
/// It does not compile or link.
pub fn build(tools: &Tools, archive: &Path) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-hermit";
    let target_dir = dirs::apf().join("app");
    let toolchain = tools.toolchain()?;
    let mut cargo = guest_cargo(toolchain)
        .args(["build", "--locked", "--release", "--package", "unikernel", "--target", TARGET])
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=compiler-builtins-mem", "--target-dir"])
        .arg(&target_dir)
        .env("HERMIT_KERNEL_DIR", archive)
        .cwd(dirs::root())
        .quiet()
        .doing("building the unikernel and its std");
    if let Some(linker) = &tools.build()?.linker {
        cargo = cargo.env("CARGO_TARGET_X86_64_UNKNOWN_HERMIT_LINKER", linker);
    }
    cargo.logged(&dirs::log("app-build")?).context("the unikernel cannot be built")?;
    command::must_exist(target_dir.join(TARGET).join("release/unikernel"), "the unikernel")
}
