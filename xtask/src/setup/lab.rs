//! The lab's parts below `target/apf/lab`: the emulator, Debian's kernel, busybox, the
//! initramfs. None of them is installed on the host.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result};

use super::emulator::{self, Emulator};
use super::{apt, initramfs};
use crate::dirs;
use crate::process::Scratch;
use crate::versions::{LabPackages, VERSIONS};

/// The parts that the lab boots from.
#[derive(Clone, Debug)]
pub struct LabParts {
    pub emulator: Emulator,
    pub linux: Linux,
    pub initramfs: PathBuf,
}

impl fmt::Display for LabParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QEMU {}, {}", self.emulator.qemu, self.linux)
    }
}

/// Debian's kernel, of the lab and of Linux guests.
#[derive(Clone, Debug)]
pub struct Linux {
    pub kernel: PathBuf,
    /// Its `uname -r`.
    pub release: String,
}

impl fmt::Display for Linux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} ({})", self.release, self.kernel.display())
    }
}

/// The unpacked packages: kernel, modules, busybox.
struct Unpacked {
    root: PathBuf,
    release: String,
}

impl Unpacked {
    fn at(root: PathBuf) -> Option<Self> {
        let mut releases = fs::read_dir(root.join("lib/modules")).ok()?.filter_map(Result::ok);
        let release = releases.next()?.file_name().into_string().ok()?;
        let unpacked = Self { root, release };
        (unpacked.kernel().is_file() && unpacked.busybox().is_file()).then_some(unpacked)
    }

    fn linux(self) -> Linux {
        Linux { kernel: self.kernel(), release: self.release }
    }

    fn kernel(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    fn busybox(&self) -> PathBuf {
        self.root.join("bin/busybox")
    }

    fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

fn root() -> PathBuf {
    dirs::apf().join("lab/root")
}

/// Returns whether kernel and busybox are unpacked.
pub fn is_unpacked() -> bool {
    Unpacked::at(root()).is_some()
}

/// Finds, downloads or builds the parts. An unpacked kernel is kept, also when Debian has a
/// newer one, until `target/apf/lab` is removed.
pub fn ensure() -> Result<LabParts> {
    let emulator = emulator::ensure()?;
    let unpacked = unpacked()?;
    let initramfs = dirs::apf().join("lab/initramfs.cpio");
    let stamp_file = dirs::apf().join("lab/initramfs.stamp");
    let stamp = format!("{}\n{}\n{}", unpacked.release, initramfs::MODULES, initramfs::INIT);
    if !initramfs.is_file()
        || fs::read_to_string(&stamp_file).is_ok_and(|old| old != stamp)
        || !stamp_file.is_file()
    {
        let new = Scratch::guard(initramfs.with_extension("new"));
        initramfs::build(new.path(), &unpacked.modules(), &unpacked.busybox())
            .context("cannot make the lab's initramfs")?;
        fs::rename(new.path(), &initramfs)?;
        fs::write(&stamp_file, stamp)?;
    }
    Ok(LabParts { emulator, linux: unpacked.linux(), initramfs })
}

/// Finds or downloads the kernel alone.
pub fn linux() -> Result<Linux> {
    Ok(unpacked()?.linux())
}

fn unpacked() -> Result<Unpacked> {
    Unpacked::at(root()).map_or_else(unpack, Ok)
}

fn unpack() -> Result<Unpacked> {
    let wanted = &VERSIONS.debian.lab;
    println!(
        "  download {} and {}, the lab's kernel and userland (unpacked, not installed)",
        wanted.kernel, wanted.busybox
    );
    let scratch = dirs::scratch("lab")?;
    let kernel = apt::concrete_kernel(&wanted.kernel)?;
    let new = apt::unpack(&[&kernel, &wanted.busybox], scratch.path())?;
    note_versions(&apt::versions(scratch.path())?, wanted);
    remove_unused(&new);
    apt::move_into_place(&new, &root())?;
    Unpacked::at(root()).with_context(|| format!("{kernel} does not contain a kernel and its modules"))
}

/// Tells which packages the tests were not last passed with.
fn note_versions(found: &[(String, String)], known: &LabPackages) {
    for (package, version) in found {
        let (key, known) = match *package == known.busybox {
            true => ("busybox_version", &known.busybox_version),
            false => ("kernel_version", &known.kernel_version),
        };
        if version != known {
            println!(
                "  note     {package} is {version}; the tests have passed with {known} \
                 (images/versions.toml, [debian.lab] {key})"
            );
        }
    }
}

/// Removes drivers of hardware that QEMU does not have: much of the kernel package.
fn remove_unused(root: &Path) {
    let _ = fs::remove_dir_all(root.join("usr"));
    for release in fs::read_dir(root.join("lib/modules")).into_iter().flatten().filter_map(Result::ok) {
        let kernel = release.path().join("kernel");
        for part in [
            "sound",
            "drivers/gpu",
            "drivers/media",
            "drivers/staging",
            "drivers/net/wireless",
            "drivers/infiniband",
        ] {
            let _ = fs::remove_dir_all(kernel.join(part));
        }
    }
}
