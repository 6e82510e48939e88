//! The host's own swap in place of the pager: the VMM is in a cgroup of its own, whose
//! memory is pushed out (Documentation/admin-guide/cgroup-v2.rst, `memory.reclaim`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::Cmd;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Swap is read in groups of 2^this pages.
const PAGE_CLUSTER: &str = "/proc/sys/vm/page-cluster";
/// Memory of which less than this is pushed out at a time is in use, and comes back at once.
const LEAST_BYTES: u64 = 256 << 10;
/// Number of attempts: recently used memory becomes old when the kernel looks at it.
const ROUNDS: u32 = 16;

/// The host's disk for its swap: memory with a latency (Documentation/block/null_blk.rst), a device made by
/// a folder in configfs.
const CONFIG: &str = "/sys/kernel/config";
const DISK: &str = "nullb/apf";

/// Swap on a disk of its own, and the VMM's cgroup, until dropped.
pub struct Swap {
    disk: PathBuf,
    cgroup: PathBuf,
}

/// Pages that the host swapped during a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapCounts {
    /// Pages of the VMM that were out when the sample's memory had been pushed out.
    pub out_pages: u64,
    /// Major faults of the VMM: those that started a read of swap or waited for one.
    pub major_faults: u64,
    /// Pages read from swap, by the whole machine, readahead included.
    pub swapped_in: u64,
}

impl SwapCounts {
    /// Returns the counts since `earlier`; pages that are out are as they were then.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            out_pages: self.out_pages,
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            swapped_in: self.swapped_in.saturating_sub(earlier.swapped_in),
        }
    }
}

impl Swap {
    /// Makes a disk of `mib` whose accesses take `latency`, swaps to it, and makes the cgroup.
    ///
    /// # Errors
    /// The kernel has no such disks, or there are no cgroups with memory's controller.
    pub fn start(latency: Duration, mib: u32) -> Result<Self> {
        let disk = disk(latency, mib)?;
        let run = |program: &str| {
            let cmd = Cmd::new(program).arg(&disk).quiet().timeout(Duration::from_secs(60));
            cmd.capture().with_context(|| format!("cannot swap to {}", disk.display()))
        };
        run("mkswap")?;
        run("swapon")?;
        let root = Path::new(CGROUPS);
        write(&root.join("cgroup.subtree_control"), "+memory")
            .context("no cgroups with the memory controller (cgroup2, mounted at /sys/fs/cgroup)")?;
        let cgroup = root.join(format!("apf-{}", process::id()));
        fs::create_dir(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        Ok(Self { disk, cgroup })
    }

    /// Starts something inside the cgroup: children are where their parent is.
    pub fn inside<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = process::id().to_string();
        write(&self.cgroup.join("cgroup.procs"), &own)?;
        let started = start();
        write(&Path::new(CGROUPS).join("cgroup.procs"), &own)?;
        started
    }

    /// Has swap read in groups of 2^`log2` pages.
    pub fn set_page_cluster(&self, log2: f64) -> Result<()> {
        write(Path::new(PAGE_CLUSTER), &log2.to_string())
    }

    /// Pushes out all that goes.
    pub fn push_out(&self) -> Result<()> {
        let current = || number(&self.cgroup.join("memory.current"));
        for _ in 0..ROUNDS {
            let before = current()?;
            // It says EAGAIN when not all could be reclaimed, which never can.
            let _ = fs::write(self.cgroup.join("memory.reclaim"), before.to_string());
            if before.saturating_sub(current()?) < LEAST_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Brings everything back, and swaps anew.
    pub fn bring_back(&self) -> Result<()> {
        for program in ["swapoff", "swapon"] {
            let cmd = Cmd::new(program).arg(&self.disk).quiet().timeout(Duration::from_secs(120));
            cmd.capture().context("cannot bring back what was swapped out")?;
        }
        Ok(())
    }

    /// Returns the counts so far, and how much of the VMM is out now.
    pub fn counts(&self, vmm: u32) -> Result<SwapCounts> {
        let field = |path: &Path, name: &str| {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            field(&text, name).with_context(|| format!("{} has no {name}", path.display()))
        };
        let status = PathBuf::from(format!("/proc/{vmm}/status"));
        Ok(SwapCounts {
            // In kB, of which a page has four.
            out_pages: field(&status, "VmSwap:")? / 4,
            major_faults: field(&self.cgroup.join("memory.stat"), "pgmajfault")?,
            swapped_in: field(Path::new("/proc/vmstat"), "pswpin")?,
        })
    }
}

/// Makes a disk in memory whose requests each take `latency` from the device's own timer, so that a read is
/// not finished when it is submitted.
fn disk(latency: Duration, mib: u32) -> Result<PathBuf> {
    let config = Path::new(CONFIG);
    if !config.join("nullb").is_dir() {
        let mount = Cmd::new("mount").args(["-t", "configfs", "config", CONFIG]).quiet();
        mount.capture().context("cannot mount configfs")?;
    }
    let device = config.join(DISK);
    fs::create_dir(&device).with_context(|| format!("cannot make {} (module null_blk)", device.display()))?;
    for (name, value) in [
        ("size", mib.to_string()),
        ("memory_backed", "1".into()),
        // Completed by a timer, after as many nanoseconds.
        ("irqmode", "2".into()),
        ("completion_nsec", latency.as_nanos().to_string()),
        ("power", "1".into()),
    ] {
        write(&device.join(name), &value)?;
    }
    Ok(PathBuf::from("/dev").join(device.file_name().unwrap_or_default()))
}

impl Drop for Swap {
    fn drop(&mut self) {
        // The VMM has ended or is about to; in the lab all of this ends with the machine.
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

fn number(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match text.trim().parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("{} holds `{}`, not a number", path.display(), text.trim()),
    }
}

/// Reads the number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "pgfault 12\npgmajfault 7\nVmSwap:\t   1024 kB\n";
        assert_eq!(field(text, "pgmajfault"), Some(7));
        assert_eq!(field(text, "VmSwap:"), Some(1024));
        assert_eq!((field(text, "pgmaj"), field(text, "pswpin")), (None, None));
    }

    #[test]
    fn a_sample_has_its_own_faults_and_the_pages_that_were_out() {
        let of = |out_pages, major_faults, swapped_in| SwapCounts { out_pages, major_faults, swapped_in };
        assert_eq!(of(50, 30, 200).since(&of(9, 10, 80)), of(50, 20, 120));
    }
}
