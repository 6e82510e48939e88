//! The unikernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest_cargo;
use crate::dirs;
use crate::process::{Cmd, Scratch, command};
use crate::setup::Tools;

/// Builds the unikernel, std included, and links it with the kernel archive in
/// the folder `archive`. What is returned is without symbols; the file with them stays
/// where cargo puts it.
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
    let linked = command::must_exist(target_dir.join(TARGET).join("release/unikernel"), "the unikernel")?;
    let image = target_dir.join("unikernel");
    // Moved into place: another run may be booting it.
    let new = Scratch::guard(target_dir.join(format!("unikernel.{}", std::process::id())));
    without_symbols(tools, &linked, new.path())?;
    fs::rename(new.path(), &image).with_context(|| format!("cannot write {}", image.display()))?;
    Ok(image)
}

/// Writes the application `app` to `out` without symbols and line numbers: they are
/// nine tenths of the file, and each boot would copy them.
///
/// # Errors
/// It cannot be read or written.
pub fn without_symbols(tools: &Tools, app: &Path, out: &Path) -> Result<()> {
    Cmd::new(&tools.build()?.objcopy)
        .arg("--strip-all")
        .args([app, out])
        .quiet()
        .timeout(Duration::from_secs(120))
        .capture()
        .with_context(|| format!("cannot take the symbols out of {}", app.display()))?;
    Ok(())
}
