//! The guest's Rust: rustup's if it is there, else Debian's; and the binary tools
//! that make the kernel archive.

use std::{
    env, fmt,
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
    pub sysroot: PathBuf,
    /// `library/` of rust-src, where `-Zbuild-std` looks for it.
    pub library: PathBuf,
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
        Ok(Some(Self { origin, rustc, cargo, sysroot: sysroot.into(), library, version }))
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

/// LLVM's programs and lld, from one folder and under their plain names.
#[derive(Clone, Debug)]
pub struct BuildTools {
    /// Holds `llvm-as`, `llvm-nm`, `llvm-objcopy`, `llvm-objdump` and `lld`.
    pub bin: PathBuf,
    pub lld: PathBuf,
}

impl BuildTools {
    const PROGRAMS: [&str; 5] = ["llvm-as", "llvm-nm", "llvm-objcopy", "llvm-objdump", "lld"];

    /// Debian's LLVM 14 first: lld 22 refuses Hermit's trampoline.
    pub fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        [PathBuf::from("/usr/lib/llvm-14/bin")]
            .into_iter()
            .chain(env::split_paths(&path))
            .find(|dir| Self::PROGRAMS.iter().all(|program| dir.join(program).is_file()))
            .map(|bin| Self { lld: bin.join("lld"), bin })
    }
}

/// What another system has to bring by itself.
pub fn by_hand() -> String {
    format!(
        "the packages are known for Debian {} only and this is {}, so please install by hand: rustup with Rust {} and \
         its component rust-src; LLVM and lld, versions 14 to 21 ({}); QEMU {} or newer (qemu-system-x86_64)",
        VERSIONS.debian.codename,
        apt::os_name(),
        VERSIONS.rust.guest,
        BuildTools::PROGRAMS.join(", "),
        VERSIONS.lab.qemu_min,
    )
}
