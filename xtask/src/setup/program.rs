//! Programs that are built from their crates into `target/apf/tools`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{
    dirs,
    process::{build_cargo, cargo::HOST_TARGET, command},
    versions::VERSIONS,
};

/// A program, and the crate that has it.
pub struct Program {
    /// The crate.
    pub package: &'static str,
    /// The program's file.
    pub program: &'static str,
    /// What it is for, and how long its build takes on two cores.
    pub about: &'static str,
    /// Further options of `cargo install`.
    pub options: &'static [&'static str],
}

/// Hermit's VMM, unmodified.
pub const UHYVE: Program = Program {
    package: "uhyve",
    program: "uhyve",
    about: "the VMM that boots the guest; about 3 minutes",
    options: &[],
};

/// Makes the site's pages.
pub const MDBOOK: Program = Program {
    package: "mdbook",
    program: "mdbook",
    about: "makes the site; about a minute",
    // Without its web server.
    options: &["--no-default-features", "--features", "search"],
};

/// Checks licences and sources of dependencies.
pub const DENY: Program = Program {
    package: "cargo-deny",
    program: "cargo-deny",
    about: "checks licences; about 5 minutes",
    options: &["--no-default-features"],
};

/// Finds unused dependencies.
pub const MACHETE: Program = Program {
    package: "cargo-machete",
    program: "cargo-machete",
    about: "finds unused dependencies; about 2 minutes",
    options: &[],
};

/// Finds misspelt words.
pub const TYPOS: Program = Program {
    package: "typos-cli",
    program: "typos",
    about: "finds misspelt words; about 2 minutes",
    options: &[],
};

/// Compares public interfaces.
pub const SEMVER: Program = Program {
    package: "cargo-semver-checks",
    program: "cargo-semver-checks",
    about: "compares public interfaces; about 5 minutes",
    options: &[],
};

/// Changes the code in small ways, to see if a test notices.
pub const MUTANTS: Program = Program {
    package: "cargo-mutants",
    program: "cargo-mutants",
    about: "tests the tests; about 5 minutes",
    options: &[],
};

impl Program {
    /// Finds or builds it, in the version of `images/versions.toml`.
    ///
    /// # Errors
    /// That file has no version of it, or the build failed.
    pub fn ensure(&self) -> Result<PathBuf> {
        let Self { package, program, about, options } = self;
        let version = VERSIONS.crates.get(*package).context("internal: a program without a version")?;
        let root = dirs::apf().join("tools");
        let path = root.join("bin").join(program);
        // cargo's record of installed crates: the program need not be started.
        let record = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
        if path.is_file() && record.contains(&format!("\"{package} {version} ")) {
            return Ok(path);
        }
        println!("  install  {package} {version}, built from its crate: {about}");
        // In a scratch folder, so that an interrupted build leaves nothing behind.
        let build = dirs::scratch(&format!("{package}-build"))?;
        build_cargo()
            .args(["install", package, "--version", &format!("={version}"), "--locked", "--force"])
            .args(*options)
            .args(["--target", HOST_TARGET, "--root"])
            .arg(&root)
            .env("CARGO_TARGET_DIR", build.path())
            .doing(format!("building {package} {version}"))
            .timeout(Duration::from_secs(30 * 60))
            .logged(&dirs::log(&format!("{package}-build"))?)
            .with_context(|| format!("{package} could not be installed from cargo's crate registry"))?;
        command::must_exist(path, program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_version_and_every_version_a_program() {
        let programs = [UHYVE, MDBOOK, DENY, MACHETE, TYPOS, SEMVER, MUTANTS].map(|program| program.package);
        let versions: Vec<_> = VERSIONS.crates.keys().map(String::as_str).collect();
        assert!(programs.iter().all(|program| versions.contains(program)));
        assert_eq!(programs.len(), versions.len());
    }
}
