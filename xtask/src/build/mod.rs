//! `cargo xtask build`: what gets booted.
//!
//! - [`kernel`]: the Hermit kernel archive, from its edited source
//! - [`app`]: the unikernel, a std program linked with that archive
//! - [`loader`]: what QEMU starts, and which then starts the unikernel
//! - [`host`]: the pager, for the machine the VMM runs on

pub mod app;
pub mod host;
pub mod kernel;
pub mod loader;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::process::Cmd;
use crate::setup::{self, Needs, Toolchain, Tools};

/// Compiling everything on a slow machine.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// `cargo xtask build`
#[derive(Debug, Args)]
pub struct BuildArgs {}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The unikernel, a Hermit ELF.
    pub image: PathBuf,
    /// The loader for QEMU.
    pub loader: PathBuf,
    /// The pager's library.
    pub pager: PathBuf,
}

/// `cargo xtask build`
///
/// # Errors
/// See [`all`].
pub fn run(_: &BuildArgs) -> Result<()> {
    let built = all(&setup::ensure(Needs { guest: true, ..Needs::default() })?)?;
    for (name, path) in [("unikernel", &built.image), ("loader", &built.loader), ("pager", &built.pager)] {
        println!("{name:<9} {}", path.display());
    }
    Ok(())
}

/// Builds everything that a run needs and that is not up to date.
///
/// # Errors
/// A compiler fails; the message shows its last lines and names its log.
pub fn all(tools: &Tools) -> Result<Built> {
    let archive = kernel::build(tools)?;
    Ok(Built { image: app::build(tools, &archive)?, loader: loader::build(tools)?, pager: host::pager()? })
}

/// The guest's cargo, by path, whatever toolchain runs this program.
fn guest_cargo(toolchain: &Toolchain) -> Cmd {
    let mut cmd = Cmd::new(&toolchain.cargo)
        .env("RUSTC", &toolchain.rustc)
        // Building std is an unstable option of a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .timeout(LIMIT);
    // What `cargo run` and the user set for the host's compiler.
    for name in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        cmd = cmd.env_remove(name);
    }
    cmd
}
