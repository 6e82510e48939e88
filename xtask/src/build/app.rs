//! The unikernel, and the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::Program;
use crate::dirs;
use crate::process::{Cmd, Scratch};
use crate::setup::Tools;

const UNIKERNEL: Program<'_> = Program {
    what: "the unikernel",
    binary: "unikernel",
    source: "unikernel",
    folder: "app",
    target: super::sysroot::TARGET,
    std: "std,panic_abort",
    profile: "release",
    features: "",
};

/// The key-value server. In a folder of its own, since its kernel has a network: cargo would compile
/// the service again at each change between two archives.
const SERVER: Program<'_> =
    Program { what: "the server", binary: "serve", source: "unikernel/serve", folder: "serve", ..UNIKERNEL };

/// Builds the unikernel, linked with the kernel archive in the folder `archive`. Returns the image,
/// which has no symbols, and the file with symbols.
pub fn build(tools: &Tools, archive: &Path) -> Result<(PathBuf, PathBuf)> {
    link(&UNIKERNEL, tools, archive)
}

/// Builds the key-value server and returns its image.
pub fn server(tools: &Tools, archive: &Path) -> Result<PathBuf> {
    link(&SERVER, tools, archive).map(|(image, _)| image)
}

fn link(program: &Program<'_>, tools: &Tools, archive: &Path) -> Result<(PathBuf, PathBuf)> {
    let linked = program.build(tools, &[("HERMIT_KERNEL_DIR", archive)])?;
    let folder = dirs::apf().join(program.folder);
    let image = folder.join(program.binary);
    // Moved into place: another run may be booting it.
    let new = Scratch::guard(folder.join(format!("{}.{}", program.binary, std::process::id())));
    without_symbols(tools, &linked, new.path())?;
    fs::rename(new.path(), &image).with_context(|| format!("cannot write {}", image.display()))?;
    Ok((image, linked))
}

/// Writes the application `app` to `out` without symbols and line numbers, which are nine
/// tenths of the file and would be copied by each boot.
pub fn without_symbols(tools: &Tools, app: &Path, out: &Path) -> Result<()> {
    Cmd::new(&tools.build.get()?.objcopy)
        .arg("--strip-all")
        .args([app, out])
        .quiet()
        .timeout(Duration::from_secs(120))
        .capture()
        .with_context(|| format!("cannot remove the symbols from {}", app.display()))?;
    Ok(())
}
