//! `cargo xtask new`: a project of the user's own, outside this repository, with a server as its example.
//!
//! Its cargo settings name compiler, kernel archive and runner of this repository, so that `cargo build` and
//! `cargo run` are all there is to type.

use std::path::{Path, PathBuf, absolute};
use std::{env, fs, io};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::build::sysroot::TARGET;
use crate::build::{self, Parts};
use crate::dirs;
use crate::process::{self, Scratch};
use crate::setup::{self, Needs};

/// `cargo xtask new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Folder of the project: a new one, or an empty one
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Name of its package [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
}

/// The program, the same in each project.
const PROGRAM: &str = include_str!("../template/main.rs");
/// Names that cargo or rustc take for something else.
const TAKEN: [&str; 6] = ["alloc", "apf-service", "core", "proc_macro", "std", "test"];

/// `cargo xtask new`
pub fn run(args: &NewArgs) -> Result<()> {
    // A user's mistake is reported before anything is installed, built or written.
    let folder = absolute(&args.folder)
        .with_context(|| format!("`{}` cannot be a folder's name", args.folder.display()))?;
    let parent = folder.parent().with_context(|| format!("{} is no new folder", folder.display()))?;
    check_free(&folder)?;
    ensure!(
        parent.is_dir(),
        "{} cannot be made: {} is no folder; make that first",
        folder.display(),
        parent.display()
    );
    let name = package_name(&folder, args.name.as_deref())?;
    let tools = setup::ensure(Needs { guest: true, ..Needs::default() })?;
    let parts = build::parts(&tools)?;
    let linker = tools.build.get()?.linker.as_deref();
    let new = tempfile::Builder::new().prefix(".apf-").tempdir_in(parent);
    let new = Scratch::guard(new.with_context(|| format!("cannot write to {}", parent.display()))?.keep());
    // Within the temporary folder, which nobody else may read.
    let project = new.path().join("project");
    write(&project, &name, &settings(&parts, linker)?)?;
    pin_versions(&project, &parts)?;
    // An empty folder is replaced, and nothing else.
    fs::rename(&project, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("project   {}", folder.canonicalize().unwrap_or(folder).display());
    println!("`cargo run` in it builds its server and boots it; .cargo/config.toml says how");
    Ok(())
}

/// Checks that nothing of the user's is in `folder`.
fn check_free(folder: &Path) -> Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "{} is not empty: choose a new folder, or an empty one",
                folder.display()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .with_context(|| format!("{} cannot be the project's folder", folder.display()));
        }
    }
    Ok(())
}

/// Returns the package's name: `given`, or that of its folder.
fn package_name(folder: &Path, given: Option<&str>) -> Result<String> {
    let name = given.map_or_else(|| folder.file_name().unwrap_or_default().to_string_lossy(), Into::into);
    let hint = if given.is_none() { ": give it another one by --name" } else { "" };
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    ensure!(
        name.chars().all(is_letter) && name.starts_with(|c: char| c.is_ascii_alphabetic()),
        "`{name}` cannot be a package's name, which has letters, digits, - and _ only and starts with a letter{hint}"
    );
    if TAKEN.contains(&&*name) {
        bail!("`{name}` cannot be a package's name, since a crate has this name already{hint}");
    }
    Ok(name.into())
}

/// A path as a string of TOML.
fn quoted(path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(toml::Value::from(path).to_string())
}

/// Writes all of a project but the versions of its crates.
fn write(folder: &Path, name: &str, settings: &str) -> Result<()> {
    let files = [
        (".gitignore", "/target\n"),
        (".cargo/config.toml", settings),
        ("Cargo.toml", &manifest(name)?),
        ("src/main.rs", PROGRAM),
    ];
    for (file, text) in files {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn manifest(name: &str) -> Result<String> {
    let service = quoted(&dirs::root().join("apf-service/program"))?;
    Ok(format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[dependencies]
# The page fault service, and with it the Hermit kernel that the program is linked with.
# `heap` is an allocator whose page faults wait by schedule.
apf-service = {{ path = {service}, features = ["heap"] }}

# This package belongs to no workspace of a folder above.
[workspace]
"#
    ))
}

/// Returns the project's cargo settings.
fn settings(parts: &Parts, linker: Option<&Path>) -> Result<String> {
    let compiler = quoted(&parts.rustc)?;
    let kernel = quoted(&parts.kernel)?;
    let runner = quoted(&env::current_exe().context("this program's path is unknown")?)?;
    let linker = linker.map(|path| Ok(format!("linker = {}\n", quoted(path)?)));
    let linker = linker.unwrap_or_else(|| Ok::<_, anyhow::Error>(String::new()))?;
    Ok(format!(
        r#"# The paths are those of one machine. Compiler and kernel are made there by
# `cargo xtask build --for-projects`, in the repository of apf-service.

[build]
target = "{TARGET}"
# A Rust toolchain with std for this target.
rustc = {compiler}

[env]
# The folder of libhermit.a: the kernel, with network, files, vsock and mmap.
HERMIT_KERNEL_DIR = {kernel}

[target.{TARGET}]
{linker}# `cargo run` boots the program. The options before "--" are those of `cargo xtask run --app`;
# with "--evict-after", "5s" the program's memory is out after five seconds.
# --forward leads port 8080 of this machine to the program's port 8080.
runner = [{runner}, "runner", "--net", "--forward", "8080:8080", "--"]
"#
    ))
}

/// Gives the project the versions of all crates with which this repository is tested.
fn pin_versions(folder: &Path, parts: &Parts) -> Result<()> {
    let lock = dirs::root().join("Cargo.lock");
    fs::copy(&lock, folder.join("Cargo.lock")).with_context(|| format!("cannot copy {}", lock.display()))?;
    // Removes what the project does not use.
    let cargo = process::cargo().env("RUSTC", &parts.rustc);
    cargo
        .args(["metadata", "--format-version", "1", "--filter-platform", TARGET])
        .cwd(folder)
        .quiet()
        .doing("choosing the versions of crates")
        .capture()
        .context("the versions of the project's crates cannot be chosen")
        .map(drop)
}
