//! uhyve, Hermit's VMM, unmodified, built from its crate into `target/apf/tools`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{
    dirs,
    process::{build_cargo, cargo::HOST_TARGET, command},
    versions::VERSIONS,
};

/// Finds or builds it.
pub fn ensure() -> Result<PathBuf> {
    let version = &VERSIONS.uhyve.version;
    let root = dirs::apf().join("tools");
    let program = root.join("bin/uhyve");
    // cargo's record of installed crates: the program need not be started.
    let record = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    if program.is_file() && record.contains(&format!("\"uhyve {version} ")) {
        return Ok(program);
    }
    println!(
        "  install  uhyve {version}, the VMM that boots the guest: built from its crate, about 3 minutes"
    );
    // In a scratch folder, so that an interrupted build leaves nothing behind.
    let build = dirs::scratch("uhyve-build")?;
    build_cargo()
        .args(["install", "uhyve", "--version", &format!("={version}"), "--locked", "--force"])
        .args(["--target", HOST_TARGET, "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", build.path())
        .doing(format!("building uhyve {version}"))
        .timeout(Duration::from_secs(30 * 60))
        .logged(&dirs::log("uhyve-build")?)
        .context("uhyve could not be installed from cargo's crate registry")?;
    command::must_exist(program, "uhyve")
}
