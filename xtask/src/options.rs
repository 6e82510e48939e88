//! Options that several verbs share.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::Args;

use crate::dirs;
use crate::drive::evict::Evict;
use crate::drive::latency::PageLatency;
use crate::drive::spec::{Moves, Vmm, Way};
use crate::probe::{self, Host, Verdict};
use crate::setup::KERNELS;
use crate::versions::LabKernel;

/// Most memory that the guest's kernel can have evicted.
pub const MOST_MIB: u32 = 2048;

/// Place where guests run.
#[derive(Clone, Debug, Args)]
pub struct HostOptions {
    /// Place where guests run
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    host: Host,
    /// One instruction is one nanosecond, whatever else the machine does: slow, in the lab
    /// only, one core
    #[arg(long)]
    pub exact: bool,
    /// The lab's kernel, with its KVM: 6.1, 6.12 or 7.3 [default: 6.1]
    #[arg(long, value_name = "VERSION", env = "APF_LAB_KERNEL", value_parser = lab_kernel)]
    lab_kernel: Option<&'static LabKernel>,
}

/// Finds a kernel of the lab by its name.
pub fn lab_kernel(name: &str) -> Result<&'static LabKernel, String> {
    KERNELS.find(name)
}

impl HostOptions {
    /// Decides where guests run, and says so.
    pub fn verdict(&self) -> Result<Verdict> {
        let verdict = if self.exact { probe::choose_exact(self.host) } else { probe::choose(self.host) }?;
        ensure!(
            verdict.is_lab() || self.lab_kernel.is_none(),
            "--lab-kernel (or APF_LAB_KERNEL) is for the lab, and guests run on this machine's KVM: add --host lab"
        );
        println!("host: {verdict}");
        Ok(verdict)
    }

    /// Returns the lab's kernel.
    pub fn kernel(&self) -> &'static LabKernel {
        self.lab_kernel.unwrap_or(&KERNELS.default)
    }
}

/// The guest's machine and its program.
#[derive(Clone, Debug, Args)]
pub struct GuestOptions {
    /// VMM that boots the guest [default: uhyve; beside Linux qemu]
    #[arg(long, value_enum)]
    pub vmm: Option<Vmm>,
    /// The guest's virtual CPUs [default: 1; for `check cores` 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: Option<u32>,
    /// The guest's memory [default: what the work needs, mostly 256MiB]
    #[arg(long)]
    memory: Option<ByteSize>,
    /// Seed of contents, order and latencies
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Show the service's events of this level and above on the guest's console [default: info; of
    /// experiments warn]
    #[arg(long, value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log: Option<String>,
    /// Show the guest's console
    #[arg(long)]
    pub console: bool,
    /// Folder for the results [default: target/apf/check, with --app target/apf/app-run, or
    /// target/apf/experiments with a folder for each experiment]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// More arguments for the VMM, before the image (may be repeated)
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub vmm_arg: Vec<String>,
    /// More arguments for the guest's program
    #[arg(last = true)]
    pub guest_args: Vec<String>,
}

impl GuestOptions {
    /// Returns the guest's virtual CPUs.
    ///
    /// # Errors
    /// They are too many for `--exact`.
    pub fn cores(&self, default: u32, exact: bool) -> Result<u32> {
        let cores = self.smp.unwrap_or(default);
        ensure!(
            cores == 1 || !exact,
            "--exact runs guests of one core, not {cores}: the exact lab has one processor"
        );
        Ok(cores)
    }

    /// Returns the guest's memory in MiB, which must be at least `least` for what `needs` it.
    ///
    /// # Errors
    /// It is too small, or larger than can be evicted.
    pub fn memory_mib(&self, default: u32, least: u32, needs: &str) -> Result<u32> {
        let mib = self.memory.map_or(default.into(), |memory| memory.as_u64() >> 20);
        ensure!(
            mib >= u64::from(least),
            "--memory {mib}MiB is too small for {needs}: give the guest at least {least}MiB"
        );
        ensure!(
            mib <= u64::from(MOST_MIB),
            "--memory {mib}MiB is more than a guest of this kernel can have evicted: at most 2GiB"
        );
        Ok(u32::try_from(mib)?)
    }

    /// Makes the folder for the results, `name` or one of that name in the folder of the option.
    pub fn folder(&self, default: &str, name: &str) -> Result<PathBuf> {
        let Some(dir) = &self.out else { return dirs::sub(&Path::new(default).join(name).to_string_lossy()) };
        let dir = dir.join(name);
        fs::create_dir_all(&dir)
            .and_then(|()| dir.canonicalize())
            .with_context(|| format!("--out {} cannot be a folder", dir.display()))
    }
}

/// Time of page-ins.
#[derive(Clone, Debug, Args)]
pub struct LatencyOption {
    /// Time from a fault to its page, or its distribution: 20ms, uniform:1ms..5ms,
    /// exponential:20ms, lognormal:20ms,0.5, bimodal:1ms,50ms,0.1, replay:FILE [default: 20ms; for
    /// checks 3ms, with --app 5ms; of experiments their own values]
    #[arg(long, value_name = "LATENCY")]
    pub page_latency: Option<PageLatency>,
}

/// Evictions and page-ins.
#[derive(Clone, Debug, Args)]
pub struct PagingOptions {
    #[command(flatten)]
    pub latency: LatencyOption,
    /// Choice of evicted pages, and period: all, fraction:0.25, periodic:500ms,
    /// periodic:500ms,0.25, lru:0.5, resident:0.25
    #[arg(long, value_name = "KIND", default_value = "all")]
    pub evict: Evict,
    /// Save the guest N times in each sample, at random instants, and restore it each time in another
    /// QEMU with all memory evicted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    restores: Option<u32>,
    /// The same by migrations to another QEMU, whose guest goes on before its memory has followed
    /// (postcopy)
    #[arg(long, value_name = "N", conflicts_with = "restores", value_parser = clap::value_parser!(u32).range(1..=1000))]
    migrations: Option<u32>,
}

impl PagingOptions {
    /// Returns the choice of evicted pages, and the moves.
    pub fn text(&self) -> String {
        let done = match self.moves() {
            Moves { number: 0, .. } => return self.evict.to_string(),
            Moves { number, way: Way::Snapshot } => format!("restored {number} times"),
            Moves { number, way: Way::Postcopy } => format!("migrated {number} times"),
        };
        format!("{}, {done}", self.evict)
    }

    /// Returns the moves of the guest to other VMMs in each sample.
    pub fn moves(&self) -> Moves {
        match (self.restores, self.migrations) {
            (_, Some(number)) => Moves { number, way: Way::Postcopy },
            (number, None) => Moves { number: number.unwrap_or(0), way: Way::Snapshot },
        }
    }
}
