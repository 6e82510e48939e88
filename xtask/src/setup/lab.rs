//! The lab's parts below `target/apf/lab`: the emulator, Debian's kernel, busybox, the
//! initramfs. None of them is installed on the host.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{fmt, fs};

use anyhow::{Context, Result};

use super::apt::lists::{Kind, Lists};
use super::emulator::{self, Emulator};
use super::{apt, initramfs, vmlinux};
use crate::dirs;
use crate::process::{Cmd, Scratch};
use crate::versions::{LabKernel, LabKernels, VERSIONS};

/// The kernels that the lab can boot.
pub static KERNELS: LazyLock<&LabKernels> = LazyLock::new(|| &VERSIONS.debian.lab.kernels);

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
        // Beside its modules from Linux 7 on.
        let beside = self.modules().join("vmlinuz");
        if beside.is_file() { beside } else { self.root.join(format!("boot/vmlinuz-{}", self.release)) }
    }

    fn busybox(&self) -> PathBuf {
        self.root.join("bin/busybox")
    }

    fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// A part's path below `target/apf/lab`; other kernels than the default have their name in it.
fn path(part: &str, kernel: &LabKernel) -> PathBuf {
    let name = if *kernel == KERNELS.default { String::new() } else { format!("-{}", kernel.name) };
    dirs::apf().join("lab").join(part.replace("{}", &name))
}

fn root(kernel: &LabKernel) -> PathBuf {
    path("root{}", kernel)
}

/// Returns whether `kernel` and busybox are unpacked.
pub fn is_unpacked(kernel: &LabKernel) -> bool {
    Unpacked::at(root(kernel)).is_some()
}

/// Finds, downloads or builds the parts. An unpacked kernel is kept, also when Debian has a
/// newer one, until `target/apf/lab` is removed.
pub fn ensure(kernel: &LabKernel) -> Result<LabParts> {
    let emulator = emulator::ensure()?;
    let unpacked = unpacked(kernel)?;
    let initramfs = path("initramfs{}.cpio", kernel);
    let stamp_file = path("initramfs{}.stamp", kernel);
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
    let linux = decompressed(unpacked.linux(), kernel)?;
    Ok(LabParts { emulator, linux, initramfs })
}

/// The kernel as an ELF file, which the emulator starts by PVH; else as it was packaged.
fn decompressed(packaged: Linux, kernel: &LabKernel) -> Result<Linux> {
    let file = path(&format!("vmlinux{{}}-{}", packaged.release), kernel);
    let is_there = file.is_file() || vmlinux::extract(&packaged.kernel, &file)?;
    Ok(if is_there { Linux { kernel: file, ..packaged } } else { packaged })
}

/// Finds or downloads the kernel of Linux guests.
pub fn linux() -> Result<Linux> {
    Ok(unpacked(&KERNELS.default)?.linux())
}

fn unpacked(kernel: &LabKernel) -> Result<Unpacked> {
    Unpacked::at(root(kernel)).map_or_else(|| unpack(kernel), Ok)
}

fn unpack(kernel: &LabKernel) -> Result<Unpacked> {
    let busybox = &VERSIONS.debian.lab.busybox;
    println!(
        "  download {} ({}) and {}, the lab's kernel and userland (unpacked, not installed)",
        kernel.package, kernel.name, busybox.package
    );
    let (scratch, of_suite) = (dirs::scratch("lab")?, dirs::scratch("lab-kernel")?);
    let lists = match &kernel.suite {
        Some(suite) => Lists::of(suite, Kind::Binary, of_suite.path())?,
        None => Lists::system(),
    };
    let packages = lists.kernel(&kernel.package)?;
    let names: Vec<_> = packages.iter().map(String::as_str).collect();
    let mut files = lists.download(&names, of_suite.path())?;
    files.extend(Lists::system().download(&[&busybox.package], scratch.path())?);
    let new = apt::unpack(&files, scratch.path())?;
    for (package, version) in files.iter().filter_map(|file| apt::name_and_version(file)) {
        let is_busybox = package == busybox.package;
        let known = if is_busybox { &busybox.version } else { &kernel.version };
        if (is_busybox || package == packages[0]) && version != *known {
            println!(
                "  note     {package} is {version}; the tests have passed with {known} (images/versions.toml, \
                 [debian.lab])"
            );
        }
    }
    // Where newer releases of Debian have them.
    let modules = new.join("usr/lib/modules");
    if modules.is_dir() {
        fs::create_dir_all(new.join("lib"))?;
        fs::rename(&modules, new.join("lib/modules"))?;
    }
    remove_unused(&new);
    decompress(&new.join("lib/modules"))?;
    apt::move_into_place(&new, &root(kernel))?;
    Unpacked::at(root(kernel))
        .with_context(|| format!("{} does not contain a kernel and its modules", packages[0]))
}

/// Decompresses the modules, which busybox cannot load as newer kernels' packages have them.
fn decompress(modules: &Path) -> Result<()> {
    let find =
        Cmd::new("find").arg(modules).args(["-name", "*.ko.xz", "-exec", "xz", "--decompress", "{}", "+"]);
    find.doing("decompressing the kernel's modules").logged(&dirs::log("unpack")?)
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
