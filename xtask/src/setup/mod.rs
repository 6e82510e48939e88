//! Set-up: finds the tools that a verb needs, and installs the missing ones.
//!
//! - [`apt`]: Debian packages, installed or downloaded
//! - [`toolchain`]: the guest's Rust and its binary tools
//! - [`qemu`]: the installed QEMU and its version
//! - [`emulator`]: the lab's own QEMU, repaired
//! - [`program`]: programs built from their crates: the VMM uhyve, tools of `audit` and `site`
//! - [`grub`]: the tools that make disk images
//! - [`lab`]: the lab's kernel, userland and initramfs
//! - [`vmlinux`]: that kernel without its compression
//! - [`modules`]: the lab's kernel modules, in load order
//! - [`initramfs`]: the archive that the lab boots from

pub mod apt;
pub mod emulator;
pub mod grub;
pub mod initramfs;
pub mod lab;
pub mod modules;
pub mod program;
pub mod qemu;
pub mod toolchain;
mod vmlinux;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

pub use self::grub::Grub;
pub use self::lab::{KERNELS, LabParts, Linux};
pub use self::qemu::Qemu;
pub use self::toolchain::{BuildTools, Toolchain};
use crate::probe::{self, Host};
use crate::process::Cmd;
use crate::versions::{LabKernel, VERSIONS};
use apt::Want;

/// `cargo xtask setup`
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Place where guests will run; decides whether the lab is set up
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    host: Host,
    /// Also install the programs with which the tests drive a server
    #[arg(long)]
    clients: bool,
}

/// The tools that a verb uses.
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
    /// The lab: its emulator, this kernel, and an initramfs.
    pub lab: Option<&'static LabKernel>,
    /// Linux as a guest: the kernel that the lab boots.
    pub linux: bool,
    /// Programs with which the tests drive a server.
    pub clients: bool,
}

/// The tools found.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The guest's Rust.
    pub toolchain: Tool<Toolchain>,
    /// GNU binutils and lld, for the kernel archive and the guest.
    pub build: Tool<BuildTools>,
    pub uhyve: Tool<PathBuf>,
    pub qemu: Tool<Qemu>,
    pub grub: Tool<Grub>,
    pub lab: Tool<LabParts>,
    /// The kernel of Linux guests.
    pub linux: Tool<Linux>,
}

/// A tool, if the verb needs it.
#[derive(Clone, Debug)]
pub struct Tool<T> {
    name: &'static str,
    found: Option<T>,
}

impl<T> Tool<T> {
    /// Returns the tool.
    ///
    /// # Errors
    /// The calling verb did not ask for it.
    pub fn get(&self) -> Result<&T> {
        let missing = || format!("internal: `{}` is used, but the verb's Needs do not name it", self.name);
        self.found.as_ref().with_context(missing)
    }
}

/// The amount that set-up prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// Everything that is needed, also what is there: the verb `setup`.
    All,
    /// Only what is being done: the other verbs.
    Changes,
}

impl Voice {
    /// Finds or installs the tool `name` if it is `needed`, and reports what was found.
    fn ensure<T>(
        self,
        needed: bool,
        name: &'static str,
        ensure: impl FnOnce() -> Result<T>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<Tool<T>> {
        let found = needed.then(ensure).transpose()?;
        if let (Self::All, Some(tool)) = (self, &found) {
            println!("  ok       {name}: {}", detail(tool));
        }
        Ok(Tool { name, found })
    }
}

/// `cargo xtask setup`
pub fn run(args: &SetupArgs) -> Result<()> {
    println!("tools that this project needs on this machine:");
    let verdict = probe::choose(args.host)?;
    println!("  host     {verdict}");
    let lab = verdict.is_lab();
    let kernel = lab.then(|| &KERNELS.default);
    ensure_with(
        Needs {
            guest: true,
            uhyve: true,
            qemu: true,
            grub: true,
            lab: kernel,
            linux: lab,
            clients: args.clients,
        },
        Voice::All,
    )?;
    println!("all tools are in place");
    Ok(())
}

/// Finds the tools in `need`, and installs missing ones, with a line for each.
///
/// # Errors
/// A tool is missing and cannot be installed; the message says what to do.
pub fn ensure(need: Needs) -> Result<Tools> {
    ensure_with(need, Voice::Changes)
}

fn ensure_with(need: Needs, voice: Voice) -> Result<Tools> {
    let wants = missing_packages(need)?;
    if !wants.is_empty() {
        apt::install(&wants)?;
    }
    let uhyve_detail = |path: &PathBuf| format!("{} ({})", VERSIONS.crates["uhyve"], path.display());
    let find_qemu = || Qemu::find()?.context(still_missing("qemu-system-x86_64"));
    let kernel = need.lab.unwrap_or(&KERNELS.default);
    let find_build = || BuildTools::find().context(still_missing("GNU binutils, GNU patch or lld"));
    Ok(Tools {
        toolchain: voice.ensure(need.guest, "guest toolchain", toolchain::ensure, Toolchain::to_string)?,
        build: voice
            .ensure(need.guest, "kernel archive tools", find_build, |build| build.ld.display().to_string())?,
        qemu: voice.ensure(need.qemu || need.lab.is_some(), "QEMU", find_qemu, Qemu::to_string)?,
        uhyve: voice.ensure(need.uhyve, "uhyve", || program::UHYVE.ensure(), uhyve_detail)?,
        grub: voice.ensure(need.grub, "GRUB", grub::ensure, Grub::to_string)?,
        lab: voice.ensure(need.lab.is_some(), "lab", || lab::ensure(kernel), LabParts::to_string)?,
        linux: voice.ensure(need.linux, "Linux as a guest", lab::linux, Linux::to_string)?,
    })
}

fn are_clients_there() -> bool {
    const PARSER: [&str; 2] = ["-c", "import prometheus_client.openmetrics.parser"];
    let parser = Cmd::new("/usr/bin/python3").args(PARSER).quiet().output();
    ["redis-benchmark", "curl"].iter().all(|name| which::which(name).is_ok())
        && parser.is_ok_and(|output| output.status.success())
}

/// Lists the missing packages, each with its reason.
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
    if (need.qemu || need.lab.is_some()) && Qemu::find()?.is_none() {
        let why = if need.qemu { "runs guests" } else { "has the firmware of the lab's machine" };
        wants.push(Want { packages: &debian.qemu, version: None, why: why.into() });
    }
    if need.clients && !are_clients_there() {
        wants.push(Want { packages: &debian.clients, version: None, why: "drive a server in tests".into() });
    }
    let is_lab_there = |kernel| lab::is_unpacked(kernel) && emulator::is_built();
    if need.lab.is_some_and(|kernel| !is_lab_there(kernel)) && !apt::on_debian() {
        bail!(
            "the lab boots Debian's kernel on an emulator built from Debian's source, and this machine has no \
             apt to fetch them with: use a Debian {} machine or container, or a machine whose KVM runs guests",
            debian.codename
        );
    }
    if need.linux && !lab::is_unpacked(&KERNELS.default) && !apt::on_debian() {
        bail!(
            "a Linux guest boots Debian's kernel, and this machine has no apt to fetch it with: use a Debian {} \
             machine or container",
            debian.codename
        );
    }
    if need.lab.is_some() {
        let missing = emulator::missing_packages().into_iter();
        wants.extend(missing.map(|packages| Want {
            packages,
            version: None,
            why: "build the lab's emulator".into(),
        }));
    }
    Ok(wants)
}

fn still_missing(what: &str) -> String {
    format!("{what} cannot be found, although its packages are installed; check PATH")
}
