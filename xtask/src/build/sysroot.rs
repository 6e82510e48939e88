//! Rust's std for programs outside this repository: built once, then part of a toolchain that cargo uses as
//! any other.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::guest;
use crate::dirs;
use crate::process::Scratch;
use crate::process::cargo::HOST_TARGET;
use crate::process::command::shell_word;
use crate::setup::Toolchain;

/// Target of Hermit programs.
pub const TARGET: &str = "x86_64-unknown-hermit";

/// A package without code, whose dependency is std.
const MANIFEST: &str = "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n";

/// Makes the toolchain if it is missing, and returns its compiler.
///
/// The compiler is a script that names the folder with std. An option in a project's settings would do the same
/// until its user sets `RUSTFLAGS`, which replaces all of these options.
///
/// # Errors
/// Std does not compile, or a file cannot be written.
pub fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let name = format!("{}-{:?}", toolchain.version, toolchain.origin).to_lowercase();
    let sysroot = dirs::sub("toolchain")?.join(name);
    if !sysroot.exists() {
        let scratch = dirs::scratch("std")?;
        let rlibs = compile(toolchain, scratch.path())?;
        let new = Scratch::guard(sysroot.with_extension("new"));
        let compiler = format!(
            "#!/bin/sh\nexec {} --sysroot {} \"$@\"\n",
            shell_word(&toolchain.rustc.to_string_lossy()),
            shell_word(&sysroot.to_string_lossy())
        );
        lay_out(toolchain, &compiler, &rlibs, new.path())
            .and_then(|()| Ok(fs::rename(new.path(), &sysroot)?))
            .with_context(|| format!("cannot make {}", sysroot.display()))?;
    }
    Ok(sysroot.join("bin/rustc"))
}

/// Compiles std in the empty folder `scratch`; returns the folder of its libraries.
fn compile(toolchain: &Toolchain, scratch: &Path) -> Result<PathBuf> {
    let (source, target) = (scratch.join("src"), scratch.join("target"));
    fs::create_dir(&source)
        .and_then(|()| fs::write(source.join("lib.rs"), "#![no_std]\n"))
        .and_then(|()| fs::write(scratch.join("Cargo.toml"), MANIFEST))
        .with_context(|| format!("cannot write to {}", scratch.display()))?;
    guest::cargo(toolchain)
        .args(["build", "--release", "--target", TARGET])
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=compiler-builtins-mem", "--target-dir"])
        .arg(&target)
        // For programs with link-time optimization.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes")
        .cwd(scratch)
        .quiet()
        .doing("building std for Hermit programs")
        .logged(&dirs::log("std-build")?)
        .context("std cannot be built for Hermit programs")?;
    Ok(target.join(TARGET).join("release/deps"))
}

/// Makes the toolchain in `sysroot`: the script `compiler`, the host's libraries and std's source by links,
/// Hermit's libraries as files.
fn lay_out(toolchain: &Toolchain, compiler: &str, rlibs: &Path, sysroot: &Path) -> Result<()> {
    let root = toolchain.rustc.ancestors().nth(2).context("rustc is in no toolchain")?;
    let rustlib = sysroot.join("lib/rustlib");
    let libraries = rustlib.join(TARGET).join("lib");
    for folder in [&libraries, &sysroot.join("bin")] {
        fs::create_dir_all(folder)?;
    }
    let mut script =
        OpenOptions::new().write(true).create_new(true).mode(0o755).open(sysroot.join("bin/rustc"))?;
    script.write_all(compiler.as_bytes())?;
    for name in [HOST_TARGET, "src"] {
        symlink(root.join("lib/rustlib").join(name), rustlib.join(name))?;
    }
    for file in fs::read_dir(rlibs)? {
        let file = file?.path();
        let name = file.file_name().unwrap_or_default();
        // The package without code is no part of std.
        if file.extension().is_some_and(|it| it == "rlib") && !name.to_string_lossy().starts_with("libempty-")
        {
            fs::copy(&file, libraries.join(name))?;
        }
    }
    Ok(())
}
