//! A program without an operating system below it, built with its own std: cargo, options
//! and linker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::dirs;
use crate::process::cargo::without_user_settings;
use crate::process::{Cmd, command};
use crate::setup::{Toolchain, Tools};

/// Limit for compiling everything on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A guest program to build.
pub struct Program<'a> {
    /// Name in messages: `the loader`.
    pub what: &'a str,
    pub binary: &'a str,
    /// The package's folder in the workspace.
    pub source: &'a str,
    /// Folder that it is built in, below `target/apf`.
    pub folder: &'a str,
    pub target: &'a str,
    /// The parts of std that it uses.
    pub std: &'a str,
    /// Profile of the workspace.
    pub profile: &'a str,
    /// Features of the package.
    pub features: &'a str,
}

impl Program<'_> {
    /// Builds it, with the environment variables `env`.
    pub fn build(&self, tools: &Tools, env: &[(&str, &Path)]) -> Result<PathBuf> {
        let target_dir = dirs::apf().join(self.folder);
        let mut cargo = cargo(tools.toolchain.get()?)
            .args(["build", "--locked", "--profile", self.profile, "--features", self.features])
            .args(["--bin", self.binary, "--target", self.target])
            .arg(format!("-Zbuild-std={}", self.std))
            .args(["-Zbuild-std-features=compiler-builtins-mem", "--target-dir"])
            .arg(&target_dir)
            .cwd(dirs::root().join(self.source))
            .quiet()
            .doing(format!("building {} and its std", self.what));
        if let Some(linker) = &tools.build.get()?.linker {
            let target = self.target.to_uppercase().replace('-', "_");
            cargo = cargo.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
        }
        for (name, value) in env {
            cargo = cargo.env(name, value);
        }
        cargo
            .logged(&dirs::log(&format!("{}-build", self.folder))?)
            .with_context(|| format!("{} cannot be built", self.what))?;
        command::must_exist(target_dir.join(self.target).join(self.profile).join(self.binary), self.what)
    }
}

/// The guest's cargo, by path, independent of the toolchain that runs this program.
pub fn cargo(toolchain: &Toolchain) -> Cmd {
    without_user_settings(Cmd::new(&toolchain.cargo))
        // Set by `cargo run` for the host's compiler.
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTC", &toolchain.rustc)
        // Building std is an unstable option of a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .timeout(LIMIT)
}
