//! Description of a VM, and its outcome, as files.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use apf_vocabulary::Counters;
use apf_vocabulary::message::Check;
use apf_vocabulary::pager::Stats;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::client::Client;
use super::evict::Evict;
use super::latency::PageLatency;
use super::network::Network;

/// The outcome's file.
pub const OUTCOME: &str = "outcome.json";
/// Everything the guest printed.
pub const CONSOLE: &str = "guest-console.log";

/// Executions of each block of code, as QEMU's plugin hotblocks writes them.
pub const PROFILE: &str = "profile.txt";

/// A virtual machine monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Vmm {
    /// Hermit's own VMM
    Uhyve,
    /// QEMU with KVM, through this project's loader
    Qemu,
}

impl Vmm {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uhyve => "uhyve",
            Self::Qemu => "qemu",
        }
    }
}

/// Operating system of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Hermit's kernel, linked with it.
    Hermit,
    /// Debian's packaged kernel, whose first and only process it is; under QEMU only.
    Linux,
}

/// Way in which a guest gets to another VMM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// It is stopped and saved to a file, from which the other VMM restores it.
    #[default]
    Snapshot,
    /// It goes on in the other VMM at once, and its memory follows (QEMU's postcopy).
    Postcopy,
}

/// Moves of a guest to other VMMs while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// In each sample.
    pub number: u32,
    pub way: Way,
}

/// Behaviour of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// As KVM is.
    #[default]
    Honest,
    /// It attacks the guest in the ways that the guest asks for.
    Attacks,
    /// It refuses the register that turns async page faults on.
    Refuses,
}

/// Treatment of a program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct App {
    /// Time from the VMM's start to the eviction; `None` evicts nothing.
    pub evict_after: Option<Duration>,
    pub network: Option<Network>,
    /// A command that uses it.
    pub client: Option<Client>,
    /// Pages that come in ahead of their faults after an eviction, by guest-physical address.
    pub working_set: Vec<u64>,
}

/// Counts of a program's page faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Counts of the host's kernel; null where its tracing is not accessible.
    pub host: Option<HostCounts>,
    /// Counts of the pager.
    pub pager: Stats,
}

/// End of a program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    /// `None` if the end of its client ended it.
    pub exit_code: Option<u8>,
    /// `None` if it has no client.
    pub client_exit_code: Option<u8>,
    pub elapsed: Duration,
    /// At the last look before the end.
    pub counts: Counted,
    /// The working set, if its client has asked for one.
    pub learnt: Option<Vec<u64>>,
}

/// One VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub vmm: Vmm,
    /// In the lab whose clock counts instructions.
    pub exact: bool,
    /// All blocks of code that ran in that lab are counted, in the file [`PROFILE`].
    pub profile: bool,
    pub system: System,
    /// The VMM's program.
    pub program: PathBuf,
    /// The unikernel, or Linux's initramfs.
    pub image: PathBuf,
    /// Kernel that QEMU starts: the loader, or Linux.
    pub loader: PathBuf,
    /// The pager's library.
    pub pager: PathBuf,
    pub memory_mib: u32,
    pub cores: u32,
    pub page_latency: PageLatency,
    /// Of samples.
    pub evict: Evict,
    /// Moves of the guest to another VMM in each sample; under QEMU only.
    pub moves: Moves,
    pub host: Host,
    /// True if the host's own swap takes the pager's place, on a disk with `page_latency`.
    pub swap: bool,
    /// Of latencies and evictions.
    pub seed: u64,
    /// Time that its work may take, far above what it takes on an idle machine.
    pub work: Duration,
    /// Pages of the memory that is filled, which takes time before.
    pub region_pages: u32,
    pub show_console: bool,
    pub vmm_args: Vec<String>,
    /// Words for the kernel, before those for its program.
    pub kernel_args: Vec<String>,
    pub guest_args: Vec<String>,
    /// The program sends no messages.
    pub app: Option<App>,
}

impl Spec {
    /// Returns whether the guest may move to another VMM while it runs.
    pub fn may_move(&self) -> bool {
        let has_client = self.app.as_ref().is_some_and(|app| app.client.is_some());
        self.moves.number > 0 || (has_client && self.vmm == Vmm::Qemu)
    }

    /// Longest time that the VM may take, with all virtual CPUs on one processor.
    pub fn limit(&self) -> Duration {
        let moves = Duration::from_secs(60) * self.moves.number;
        (Duration::from_secs(60) + self.work + moves + self.filling() * 4) * self.cores
    }

    /// Longest time in which a guest that is well says nothing and touches no
    /// page that is out.
    pub fn quiet_limit(&self) -> Duration {
        Duration::from_secs(30) + self.page_latency.mean() * 20 + self.filling()
    }

    /// First touch of every page of the region, as slow as the lab may be.
    fn filling(&self) -> Duration {
        Duration::from_millis(1) * self.region_pages
    }
}

/// Counts of the host's kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// Page faults by which it told the guest that a page is missing.
    pub not_present: u64,
    /// Interrupts by which it told the guest that a page is back.
    pub ready: u64,
    /// Faults for which it could not but stop the core, because 64 were outstanding.
    pub synchronous: u64,
    /// Faults for a page that was under way already, for which it stopped the core as well.
    pub repeated: u64,
}

impl HostCounts {
    /// Returns the sum of both.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            not_present: self.not_present + other.not_present,
            ready: self.ready + other.ready,
            synchronous: self.synchronous + other.synchronous,
            repeated: self.repeated + other.repeated,
        }
    }

    /// Returns the counts since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            not_present: self.not_present.saturating_sub(earlier.not_present),
            ready: self.ready.saturating_sub(earlier.ready),
            synchronous: self.synchronous.saturating_sub(earlier.synchronous),
            repeated: self.repeated.saturating_sub(earlier.repeated),
        }
    }
}

/// Results of a VM that are no samples.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub cores: usize,
    /// Address of the image's entry point.
    pub entry: u64,
    /// Addresses of the kernel's code, if it is not in the image.
    pub kernel: Option<Range<u64>>,
    /// Why there are no counts of the host.
    pub host_trace_unavailable: Option<String>,
    pub checks: Vec<Check>,
    /// All that guest and host counted during it, without what the guest itself raised.
    pub counted: Option<(Counters, HostCounts)>,
    /// End of a program that sends no messages.
    pub app: Option<Ended>,
}

/// Reads a specification or an outcome.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// Writes a specification or an outcome.
pub fn write_json<T: Serialize>(value: &T, path: &Path) -> Result<()> {
    let text = serde_json::to_vec(value).context("plain data")?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
