//! Set-up: find what a verb needs, install what is missing, say what and why.
//!
//! - [`apt`]: Debian packages, installed or downloaded
//! - [`toolchain`]: the guest's Rust and its binary tools
//! - [`qemu`]: the installed one and its version
//! - [`emulator`]: the lab's own QEMU, repaired
//! - [`uhyve`]: the VMM, built from its crate
//! - [`grub`]: what disk images are made with
//! - [`lab`]: the lab's kernel, userland and initramfs
//! - [`modules`]: which kernel modules in which order
//! - [`initramfs`]: the archive the lab boots from

pub mod apt;
pub mod emulator;
pub mod grub;
pub mod initramfs;
pub mod lab;
pub mod modules;
pub mod qemu;
pub mod toolchain;
pub mod uhyve;

use std::{fs::File, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

pub use self::{
    grub::Grub,
    lab::{LabParts, Linux},
    qemu::Qemu,
    toolchain::{BuildTools, Toolchain},
};
use crate::{
    dirs,
    probe::{self, Host, Verdict},
    versions::VERSIONS,
};
use apt::Want;

/// `cargo xtask setup`
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Where guests are going to run: decides whether the lab is set up
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    host: Host,
}

/// What a verb is going to use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// The guest's Rust and binary tools.
    pub guest: bool,
    /// The VMM uhyve.
    pub uhyve: bool,
    /// QEMU, any version that starts.
    pub qemu: bool,
    /// GRUB and the tools that make disk images.
    pub grub: bool,
    /// The lab: its emulator, kernel and initramfs.
    pub lab: bool,
    /// Linux as a guest: the kernel that the lab boots.
    pub linux: bool,
}

/// What was asked for, found; what was not asked for is `None`.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    pub toolchain: Option<Toolchain>,
    pub build: Option<BuildTools>,
    pub uhyve: Option<PathBuf>,
    pub qemu: Option<Qemu>,
    pub grub: Option<Grub>,
    pub lab: Option<LabParts>,
    pub linux: Option<Linux>,
}

impl Tools {
    /// The guest's Rust.
    ///
    /// # Errors
    /// It was not asked for: a mistake of the calling verb. So for all of these.
    pub fn toolchain(&self) -> Result<&Toolchain> {
        self.toolchain.as_ref().ok_or_else(|| not_asked_for("guest"))
    }

    /// GNU binutils and lld, for the kernel archive and the guest.
    pub fn build(&self) -> Result<&BuildTools> {
        self.build.as_ref().ok_or_else(|| not_asked_for("guest"))
    }

    /// The uhyve program.
    pub fn uhyve(&self) -> Result<&PathBuf> {
        self.uhyve.as_ref().ok_or_else(|| not_asked_for("uhyve"))
    }

    /// QEMU.
    pub fn qemu(&self) -> Result<&Qemu> {
        self.qemu.as_ref().ok_or_else(|| not_asked_for("qemu"))
    }

    /// What disk images are made with.
    pub fn grub(&self) -> Result<&Grub> {
        self.grub.as_ref().ok_or_else(|| not_asked_for("grub"))
    }

    /// The lab's parts.
    pub fn lab(&self) -> Result<&LabParts> {
        self.lab.as_ref().ok_or_else(|| not_asked_for("lab"))
    }

    /// The kernel of Linux guests.
    pub fn linux(&self) -> Result<&Linux> {
        self.linux.as_ref().ok_or_else(|| not_asked_for("linux"))
    }
}

fn not_asked_for(what: &str) -> anyhow::Error {
    anyhow!("internal: `{what}` is used but was not asked for in Needs")
}

/// How much set-up says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// Everything that is needed, also what is there: the verb `setup`.
    All,
    /// Only what is being done: the other verbs.
    Changes,
}

impl Voice {
    fn found(self, what: &str, detail: impl std::fmt::Display) {
        if self == Self::All {
            println!("  ok       {what}: {detail}");
        }
    }
}

/// `cargo xtask setup`
///
/// # Errors
/// Something is missing and cannot be had; the message says what to do.
pub fn run(args: &SetupArgs) -> Result<()> {
    println!("what this project needs on this machine:");
    let verdict = probe::choose(args.host)?;
    println!("  host     {verdict}");
    let lab = matches!(verdict, Verdict::Lab { .. });
    ensure_with(Needs { guest: true, uhyve: true, qemu: true, grub: true, lab, linux: lab }, Voice::All)?;
    println!("everything is in place");
    Ok(())
}

/// Finds what is needed; installs what is missing, telling what and why.
///
/// # Errors
/// Something is missing and cannot be had; the message says what to do.
pub fn ensure(need: Needs) -> Result<Tools> {
    ensure_with(need, Voice::Changes)
}

fn ensure_with(need: Needs, voice: Voice) -> Result<Tools> {
    let _lock = lock()?;
    let wants = missing_packages(need)?;
    if !wants.is_empty() {
        apt::install(&wants)?;
    }
    let mut tools = Tools::default();
    if need.guest {
        let toolchain = toolchain::ensure()?;
        voice.found("guest toolchain", &toolchain);
        let build = BuildTools::find().context(still_missing("GNU binutils, GNU patch or lld"))?;
        voice.found("kernel archive tools", build.ld.display());
        (tools.toolchain, tools.build) = (Some(toolchain), Some(build));
    }
    if need.qemu || need.lab {
        let qemu = Qemu::find()?.context(still_missing("qemu-system-x86_64"))?;
        voice.found("QEMU", &qemu);
        tools.qemu = Some(qemu);
    }
    if need.uhyve {
        let uhyve = uhyve::ensure()?;
        voice.found("uhyve", format_args!("{} ({})", VERSIONS.uhyve.version, uhyve.display()));
        tools.uhyve = Some(uhyve);
    }
    if need.grub {
        let grub = grub::ensure()?;
        voice.found("GRUB", &grub);
        tools.grub = Some(grub);
    }
    if need.lab {
        let lab = lab::ensure()?;
        voice.found("lab", &lab);
        tools.lab = Some(lab);
    }
    if need.linux {
        let linux = lab::linux()?;
        voice.found("Linux as a guest", &linux);
        tools.linux = Some(linux);
    }
    Ok(tools)
}

/// What apt has to bring, with the reason for each.
fn missing_packages(need: Needs) -> Result<Vec<Want>> {
    let debian = &VERSIONS.debian;
    let mut wants = Vec::new();
    if need.guest && toolchain::find()?.is_none() && apt::on_our_debian() {
        wants.push(Want {
            packages: &debian.toolchain,
            version: Some(&VERSIONS.rust.guest),
            why: format!("Rust {} with its std source, which compiles the guest", VERSIONS.rust.guest),
        });
    }
    if need.guest && BuildTools::find().is_none() {
        wants.push(Want { packages: &debian.build, version: None, why: "make the kernel archive".into() });
    }
    if (need.qemu || need.lab) && Qemu::find()?.is_none() {
        let why = if need.qemu { "runs guests" } else { "the firmware of the lab's machine" };
        wants.push(Want { packages: &debian.qemu, version: None, why: why.into() });
    }
    if need.lab && !(lab::is_unpacked() && emulator::is_built()) && !apt::on_debian() {
        bail!(
            "the lab boots Debian's kernel on an emulator built from Debian's source, and this machine has no \
             apt to fetch them with: use a Debian {} machine or container, or a machine whose KVM runs guests",
            debian.codename
        );
    }
    if need.linux && !lab::is_unpacked() && !apt::on_debian() {
        bail!("a Linux guest boots Debian's kernel, and this machine has no apt to fetch it with");
    }
    if need.lab {
        let missing = emulator::missing_packages().into_iter();
        wants.extend(missing.map(|packages| Want {
            packages,
            version: None,
            why: "the lab's emulator is built with them".into(),
        }));
    }
    Ok(wants)
}

fn still_missing(what: &str) -> String {
    format!("{what} cannot be found, though the packages that bring it are installed")
}

/// One set-up at a time: two would unpack over each other.
fn lock() -> Result<File> {
    let path = dirs::sub("")?.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("another cargo xtask is setting up; waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
