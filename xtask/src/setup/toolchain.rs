//! The guest's Rust: rustup's if it is there, else Debian's; and the binary tools
//! that make the kernel archive.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{
    dirs,
    process::Cmd,
    versions::{self, VERSIONS},
};

/// Who installed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Rustup,
    Debian,
}

/// A rustc, its cargo and the std source of exactly that version. Use it with
/// `RUSTC_BOOTSTRAP=1`: building std is an unstable option.
#[derive(Clone, Debug)]
pub struct Toolchain {
    pub origin: Origin,
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub version: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rust {} with std source, from {:?} ({})", self.version, self.origin, self.rustc.display())
    }
}

impl Toolchain {
    /// The toolchain below `sysroot`, if it is complete and of the right version.
    fn at(origin: Origin, sysroot: &Path) -> Result<Option<Self>> {
        let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
        // Where `-Zbuild-std` looks for std's source.
        let library = sysroot.join("lib/rustlib/src/rust/library");
        if !rustc.is_file() || !cargo.is_file() || !library.join("std/Cargo.toml").is_file() {
            return Ok(None);
        }
        let wanted = &VERSIONS.rust.guest;
        for tool in [&rustc, &cargo] {
            let text = Cmd::new(tool).arg("--version").quiet().timeout(Duration::from_secs(20)).capture()?;
            if versions::find(&text) != Some(wanted) {
                return Ok(None);
            }
        }
        // rustup installs source and compiler together. Debian's are packages of their
        // own, and their source says which version it is.
        if std::fs::read_to_string(sysroot.join("lib/rustlib/src/rust/src/version"))
            .is_ok_and(|text| text.trim() != wanted)
        {
            return Ok(None);
        }
        let version = wanted.clone();
        Ok(Some(Self { origin, rustc, cargo, version }))
    }
}

/// Finds a complete one: rustup's first, because its user chose it.
///
/// # Errors
/// A compiler is there but does not run.
pub fn find() -> Result<Option<Toolchain>> {
    if let Some(sysroot) = rustup_sysroot()?
        && let Some(toolchain) = Toolchain::at(Origin::Rustup, &sysroot)?
    {
        return Ok(Some(toolchain));
    }
    Toolchain::at(Origin::Debian, Path::new("/usr"))
}

/// Finds one, or has rustup install it. Debian's packages were installed before.
///
/// # Errors
/// There is none and none can be had.
pub fn ensure() -> Result<Toolchain> {
    if let Some(toolchain) = find()? {
        return Ok(toolchain);
    }
    let version = &VERSIONS.rust.guest;
    if which::which("rustup").is_err() {
        bail!(
            "the guest needs Rust {version} with the component rust-src, and there is no rustup to install it"
        );
    }
    println!("  install  Rust {version} with its std source, by rustup: compiles the guest");
    Cmd::new("rustup")
        .args(["toolchain", "install", version, "--profile", "minimal", "--component", "rust-src"])
        .doing(format!("installing Rust {version}"))
        .logged(&dirs::log("rustup")?)
        .with_context(|| format!("rustup could not install Rust {version}"))?;
    find()?.with_context(|| format!("rustup installed Rust {version}, but it is not complete"))
}

/// The root of rustup's toolchain of the wanted version, installed or not.
fn rustup_sysroot() -> Result<Option<PathBuf>> {
    if which::which("rustup").is_err() {
        return Ok(None);
    }
    // Asked for a path, newer versions of rustup would start a download.
    let output = Cmd::new("rustup")
        .args(["which", "--toolchain", &VERSIONS.rust.guest, "rustc"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .quiet()
        .timeout(Duration::from_secs(20))
        .output()?;
    let sysroot = Path::new(output.stdout.trim()).ancestors().nth(2).map(Path::to_path_buf);
    Ok(sysroot.filter(|_| output.status.success()))
}

/// GNU binutils, which make the kernel archive, and the linker of the guest.
#[derive(Clone, Debug)]
pub struct BuildTools {
    pub ld: PathBuf,
    pub nm: PathBuf,
    pub objcopy: PathBuf,
    pub ar: PathBuf,
    pub objdump: PathBuf,
    /// For a toolchain that brings no `rust-lld` of its own.
    pub linker: Option<PathBuf>,
}

impl BuildTools {
    /// Finds them on the path. The kernel's build script calls `as`, and `patch` applies
    /// the kernel's changes.
    pub fn find() -> Option<Self> {
        let tool = |name: &str| which::which(name).ok();
        tool("as")?;
        tool("patch")?;
        let linker = tool("ld.lld");
        if linker.is_none() && tool("rust-lld").is_none() && !rustup_has_lld() {
            return None;
        }
        Some(Self {
            ld: tool("ld")?,
            nm: tool("nm")?,
            objcopy: tool("objcopy")?,
            ar: tool("ar")?,
            objdump: tool("objdump")?,
            linker,
        })
    }
}

/// rustup's compilers bring the linker of bare-metal targets.
fn rustup_has_lld() -> bool {
    matches!(find(), Ok(Some(Toolchain { origin: Origin::Rustup, .. })))
}

/// What another system has to bring by itself.
pub fn by_hand() -> String {
    format!(
        "the packages are known for Debian {} only and this is {}, so please install by hand: rustup with Rust {} and \
         its component rust-src; GNU binutils and patch; lld; QEMU (qemu-system-x86_64)",
        VERSIONS.debian.codename,
        apt::os_name(),
        VERSIONS.rust.guest,
    )
}
