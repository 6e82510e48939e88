//! Paths. Everything that this program makes lies below `target/apf`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

use crate::process::Scratch;
use crate::process::lock::{self, Lock};

/// The workspace's root.
///
/// `cargo run` names the manifest's folder at run time. A binary started by hand, or
/// inside the lab, uses the path that it was compiled from.
pub fn root() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest_dir = manifest_dir
        .filter(|dir| dir.join("../xtask/src/dirs.rs").is_file())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest_dir.parent().map(Path::to_path_buf).unwrap_or(manifest_dir)
}

/// `target/apf`: the products of set-up and builds. Read-only in the lab.
pub fn apf() -> PathBuf {
    root().join("target/apf")
}

/// Waits until this process is the only one that writes below `target/apf`. In the lab it is.
///
/// # Errors
/// This program belongs to another checkout, or the folder cannot be written.
pub fn lock() -> Result<Option<Lock>> {
    if env::var_os("APF_LAB").is_some() {
        return Ok(None);
    }
    let here = env::current_dir().context("the current folder is gone")?;
    lock::check_place(&root(), &env::current_exe()?, &here)?;
    Lock::take(&sub("")?.join("lock"), |line| println!("{line}")).map(Some)
}

/// The folder for logs, results and temporary files: `target/apf`, in the lab the
/// writable share, which its init (`images/lab/init`) names in `APF_LAB`.
fn out() -> PathBuf {
    env::var_os("APF_LAB").map_or_else(apf, PathBuf::from)
}

/// `<name>` below the output folder, made if missing.
pub fn sub(name: &str) -> Result<PathBuf> {
    let dir = out().join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    Ok(dir)
}

/// `log/<name>.log` below the output folder; the folder is made.
pub fn log(name: &str) -> Result<PathBuf> {
    Ok(sub("log")?.join(format!("{name}.log")))
}

/// An empty temporary folder `tmp/<name>-<number>-<pid>` below the output folder.
pub fn scratch(name: &str) -> Result<Scratch> {
    Scratch::dir(&sub("tmp")?, name)
}
