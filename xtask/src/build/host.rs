//! The pager's library, for the machine that the VMM runs on.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::guest::LIMIT;
use crate::dirs;
use crate::process::cargo::HOST_TARGET;
use crate::process::{build_cargo, command};

/// Builds the pager's library with the toolchain that built this program.
pub fn pager() -> Result<PathBuf> {
    let target = dirs::apf().join("host");
    build_cargo()
        .args([
            "build",
            "--locked",
            "--release",
            "--package",
            "apf-pager",
            "--target",
            HOST_TARGET,
            "--target-dir",
        ])
        .arg(&target)
        .cwd(dirs::root())
        .quiet()
        .doing("building the pager")
        .timeout(LIMIT)
        .logged(&dirs::log("pager-build")?)
        .context("the pager cannot be built")?;
    command::must_exist(target.join(HOST_TARGET).join("release/libapf_pager.so"), "the pager's library")
}
