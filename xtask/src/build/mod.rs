//! `cargo xtask build`: guest programs and the pager.
//!
//! - [`kernel`]: the Hermit kernel archive, from its patched source
//! - [`app`]: the unikernel and the server, std programs linked with that archive
//! - [`linux`]: the same program for Linux, with which Hermit is compared
//! - [`loader`]: the loader, which QEMU starts and which starts the unikernel
//! - [`guest`]: cargo, options and linker for unikernel and loader
//! - [`host`]: the pager, for the machine that the VMM runs on
//! - [`sysroot`]: a toolchain with std for Hermit, for programs outside this repository

pub mod app;
pub mod guest;
pub mod host;
pub mod kernel;
pub mod linux;
pub mod loader;
pub mod sysroot;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Needs, Tools};
use kernel::Feature;

/// `cargo xtask build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Only compile the kernel after each patch of its series; takes minutes
    #[arg(long, hide = true)]
    kernel_prefixes: bool,
    /// Only build a kernel archive for a program of your own, with these features besides: any of dhcpv4, dns,
    /// fuse, mmap, pci-ids, tcp, udp, vsock
    #[arg(long, value_name = "FEATURE,…", value_delimiter = ',')]
    kernel_features: Vec<Feature>,
    /// Only build the key-value server `unikernel/serve`, with all of these features
    #[arg(long, conflicts_with = "kernel_features")]
    server: bool,
    /// Only build what projects of `cargo xtask new` use: the kernel archive with all of these features, and a
    /// toolchain with std
    #[arg(long, conflicts_with_all = ["kernel_features", "server"])]
    for_projects: bool,
}

/// The products of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The unikernel, a Hermit ELF.
    pub image: PathBuf,
    /// The unikernel with its symbols.
    pub symbols: PathBuf,
    /// The loader for QEMU.
    pub loader: PathBuf,
    /// The pager's library.
    pub pager: PathBuf,
}

/// `cargo xtask build`
pub fn run(args: &BuildArgs) -> Result<()> {
    let tools = setup::ensure(Needs { guest: true, ..Needs::default() })?;
    if args.kernel_prefixes {
        return kernel::check_prefixes(&tools);
    }
    if !args.kernel_features.is_empty() {
        let folder = kernel::build(&tools, &args.kernel_features)?;
        println!("kernel    {}\nprograms are linked with it by HERMIT_KERNEL_DIR", folder.display());
        return Ok(());
    }
    if args.server {
        let archive = kernel::build(&tools, &Feature::all())?;
        println!("server    {}", app::server(&tools, &archive)?.display());
        return Ok(());
    }
    if args.for_projects {
        let parts = parts(&tools)?;
        println!("kernel    {}\ncompiler  {}", parts.kernel.display(), parts.rustc.display());
        return Ok(());
    }
    let built = all(&tools)?;
    for (name, path) in [("unikernel", &built.image), ("loader", &built.loader), ("pager", &built.pager)] {
        println!("{name:<9} {}", path.display());
    }
    Ok(())
}

/// Builds everything that a run needs, unless it is up to date.
///
/// # Errors
/// A compiler fails; the message shows its last lines and names its log.
pub fn all(tools: &Tools) -> Result<Built> {
    let archive = kernel::build(tools, &[])?;
    let (image, symbols) = app::build(tools, &archive)?;
    with(tools, image, symbols)
}

/// The parts of this repository that a project outside uses.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Folder of the kernel archive.
    pub kernel: PathBuf,
    /// The compiler of a toolchain with std for Hermit.
    pub rustc: PathBuf,
}

/// Builds them, unless they are up to date.
pub fn parts(tools: &Tools) -> Result<Parts> {
    let rustc = sysroot::build(tools.toolchain.get()?)?;
    Ok(Parts { kernel: kernel::build(tools, &Feature::all())?, rustc })
}

/// Builds what the run of a finished program needs.
pub fn for_app(tools: &Tools, app: &Path) -> Result<Built> {
    with(tools, app.to_path_buf(), app.to_path_buf())
}

fn with(tools: &Tools, image: PathBuf, symbols: PathBuf) -> Result<Built> {
    Ok(Built { image, symbols, loader: loader::build(tools)?, pager: host::pager()? })
}
