//! The loader that QEMU starts with `-kernel`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::guest_cargo;
use crate::dirs;
use crate::process::command;
use crate::setup::Tools;

/// Builds the loader.
///
/// # Errors
/// It does not compile or link.
pub fn build(tools: &Tools) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-none";
    let target_dir = dirs::apf().join("loader");
    let mut cargo = guest_cargo(tools.toolchain()?)
        .args(["build", "--locked", "--release", "--bin", "apf-loader", "--target", TARGET])
        .args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem", "--target-dir"])
        .arg(&target_dir)
        .cwd(dirs::root().join("images/loader/boot"))
        .quiet()
        .doing("building the loader");
    if let Some(linker) = &tools.build()?.linker {
        cargo = cargo.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker);
    }
    cargo.logged(&dirs::log("loader-build")?).context("the loader cannot be built")?;
    command::must_exist(target_dir.join(TARGET).join("release/apf-loader"), "the loader")
}
