//! Where things are. Everything this program makes lies below `target/apf`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The workspace's root.
///
/// `cargo run` says at run time where the manifest is. Without it (the binary was
/// started by hand, or inside the lab) the place it was built from is as good.
pub fn root() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest_dir = manifest_dir
        .filter(|dir| dir.join("src/dirs.rs").is_file())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest_dir.parent().map(Path::to_path_buf).unwrap_or(manifest_dir)
}

/// `target/apf`: what set-up and builds make. Read-only in the lab.
pub fn apf() -> PathBuf {
    root().join("target/apf")
}

/// Are we inside the lab? Its init sets the variable.
pub fn in_lab() -> bool {
    env::var_os("APF_LAB").is_some()
}

/// Where logs, results and temporary files go: `target/apf`, in the lab the share.
pub fn out() -> PathBuf {
    if in_lab() { PathBuf::from(crate::lab::SHARE) } else { apf() }
}

/// `<name>` below [`out`], made if missing.
///
/// # Errors
/// The folder cannot be made.
pub fn sub(name: &str) -> Result<PathBuf> {
    let dir = out().join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    Ok(dir)
}

/// `log/<name>.log` below [`out`], with its folder made.
///
/// # Errors
/// The folder cannot be made.
pub fn log(name: &str) -> Result<PathBuf> {
    Ok(sub("log")?.join(format!("{name}.log")))
}
