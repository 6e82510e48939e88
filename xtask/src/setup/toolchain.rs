//! The guest's Rust, rustup's if it is there, else Debian's, and the binary tools that
//! make the kernel archive.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::dirs;
use crate::process::Cmd;
use crate::versions::{self, VERSIONS};

/// The installer of a toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Rustup,
    Debian,
}

/// A rustc, its cargo and the std source, all of the pinned version. Building std is an
/// unstable option, so it runs with `RUSTC_BOOTSTRAP=1`.
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
    /// Takes the toolchain below `sysroot`, if it is complete and of the pinned version.
    fn at(origin: Origin, sysroot: &Path) -> Result<Option<Self>> {
        let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
        // `-Zbuild-std` reads std's source here.
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
        // rustup installs source and compiler together. Debian has a package for each, and
        // the source's has a file with its version.
        if std::fs::read_to_string(sysroot.join("lib/rustlib/src/rust/src/version"))
            .is_ok_and(|text| text.trim() != wanted)
        {
            return Ok(None);
        }
        let version = wanted.clone();
        Ok(Some(Self { origin, rustc, cargo, version }))
    }
}

/// Finds a complete toolchain: rustup's first, because the user chose to have rustup.
///
/// # Errors
/// A compiler was found but does not run.
pub fn find() -> Result<Option<Toolchain>> {
    if let Some(sysroot) = rustup_sysroot()?
        && let Some(toolchain) = Toolchain::at(Origin::Rustup, &sysroot)?
    {
        return Ok(Some(toolchain));
    }
    Toolchain::at(Origin::Debian, Path::new("/usr"))
}

/// Finds a toolchain, or installs one by rustup; Debian's packages were installed before.
pub fn ensure() -> Result<Toolchain> {
    if let Some(toolchain) = find()? {
        return Ok(toolchain);
    }
    let version = &VERSIONS.rust.guest;
    if which::which("rustup").is_err() {
        bail!(
            "the guest needs Rust {version} with the component rust-src, and there is no rustup to install it: \
             please install rustup"
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

/// Asks rustup for the root of its toolchain of the pinned version, if that is installed.
fn rustup_sysroot() -> Result<Option<PathBuf>> {
    if which::which("rustup").is_err() {
        return Ok(None);
    }
    // Newer versions of rustup install a missing toolchain when asked for a path in it.
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
    /// For a toolchain without `rust-lld`.
    pub linker: Option<PathBuf>,
}

impl BuildTools {
    /// Finds them in the PATH, and `as`, which the kernel's build script calls, and `patch`,
    /// which applies the kernel's changes.
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

/// rustup's toolchains contain the linker of bare-metal targets.
fn rustup_has_lld() -> bool {
    matches!(find(), Ok(Some(Toolchain { origin: Origin::Rustup, .. })))
}
