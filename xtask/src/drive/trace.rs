//! The host kernel's own count of async page faults, by its tracepoints.
//!
//! `kvm_try_async_get_page` is hit by a fault that could become an async one,
//! `kvm_async_pf_not_present` when it did, and `kvm_async_pf_repeated_fault`
//! when its page is under way already (arch/x86/kvm/mmu/mmu.c). What is left
//! found 64 outstanding (virt/kvm/async_pf.c) and was served synchronously.
//!
//! A histogram trigger counts in the kernel, for each thread, so nothing can be
//! lost in a ring buffer (Documentation/trace/histogram.rst). It lives in a
//! trace instance of its own and disturbs no other tracing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::spec::HostCounts;
use crate::process::Scratch;

const NOT_PRESENT: &str = "kvm_async_pf_not_present";
const READY: &str = "kvm_async_pf_ready";
const TRIED: &str = "kvm_try_async_get_page";
const REPEATED: &str = "kvm_async_pf_repeated_fault";
const EVENTS: [&str; 4] = [NOT_PRESENT, READY, TRIED, REPEATED];
const TRIGGER: &str = "hist:keys=common_pid:size=4096";

/// Counting, until dropped.
pub struct Trace {
    instance: PathBuf,
    /// Every thread of the VMM ever seen: the counts of those that have ended are still there.
    threads: RefCell<BTreeSet<u32>>,
    /// Removing the instance folder ends it, also after Ctrl-C.
    _guard: Scratch,
}

impl Trace {
    /// Starts to count.
    ///
    /// # Errors
    /// The kernel's tracing is not accessible to this user.
    pub fn start() -> Result<Self> {
        let tracing = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .into_iter()
            .map(Path::new)
            .find(|dir| dir.join("events/kvm").is_dir())
            .context("the host's KVM tracepoints are not visible: run as root, with tracefs mounted")?;
        let instance = tracing.join(format!("instances/apf-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let guard = Scratch::guard(&instance);
        for event in EVENTS {
            let trigger = instance.join("events/kvm").join(event).join("trigger");
            fs::write(&trigger, TRIGGER).with_context(|| format!("cannot write {}", trigger.display()))?;
        }
        Ok(Self { instance, threads: RefCell::default(), _guard: guard })
    }

    /// Returns the counts of all threads that `process` has, or has had at an earlier call.
    pub fn counts(&self, process: u32) -> Result<HostCounts> {
        let mut threads = self.threads.borrow_mut();
        threads.extend(threads_of(process));
        if threads.is_empty() {
            bail!("the VMM is gone");
        }
        let count = |event: &str| {
            let path = self.instance.join("events/kvm").join(event).join("hist");
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok::<u64, anyhow::Error>(hits(&text, &threads))
        };
        // In the order in which they happen to a fault, the last one first: a
        // fault in between is then not counted as synchronous for good.
        let (ready, not_present) = (count(READY)?, count(NOT_PRESENT)?);
        let repeated = count(REPEATED)?;
        let synchronous = count(TRIED)?.saturating_sub(repeated + not_present);
        Ok(HostCounts { not_present, ready, synchronous, repeated })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in EVENTS {
            let trigger = self.instance.join("events/kvm").join(event).join("trigger");
            let _ = fs::write(trigger, format!("!{TRIGGER}"));
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

/// The threads that `process` has now; none if it has ended.
fn threads_of(process: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Sums the lines `{ common_pid:       1234 } hitcount:         56` of `threads`.
fn hits(histogram: &str, threads: &BTreeSet<u32>) -> u64 {
    let number_after = |line: &str, name: &str| -> Option<u64> {
        line.split_once(name)?.1.split_whitespace().next()?.parse().ok()
    };
    histogram
        .lines()
        .filter_map(|line| Some((number_after(line, "common_pid:")?, number_after(line, "hitcount:")?)))
        .filter(|(thread, _)| u32::try_from(*thread).is_ok_and(|thread| threads.contains(&thread)))
        .map(|(_, count)| count)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vmms_threads_count() {
        let text = "# event histogram\n#\n\n{ common_pid:        120 } hitcount:         17\n\
                    { common_pid:        121 } hitcount:          5\n{ common_pid:       9 } hitcount: 99\n\n\
                    Totals:\n    Hits: 121\n    Entries: 3\n    Dropped: 0\n";
        assert_eq!(hits(text, &BTreeSet::from([120, 121])), 22);
        assert_eq!(hits(text, &BTreeSet::new()), 0);
    }

    /// A file stands in for the kernel's histogram.
    #[test]
    fn threads_that_have_ended_keep_their_counts() {
        let scratch = crate::dirs::scratch("trace-test").unwrap();
        let trace = Trace {
            instance: scratch.path().to_path_buf(),
            threads: RefCell::default(),
            _guard: Scratch::guard(scratch.path()),
        };
        let (sender, ended) = std::sync::mpsc::channel::<()>();
        let vcpu = std::thread::spawn(move || {
            let thread = nix::unistd::gettid().as_raw();
            (thread, ended.recv().is_err())
        });
        let process = std::process::id();
        for event in EVENTS {
            let folder = scratch.path().join("events/kvm").join(event);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("hist"), "").unwrap();
        }
        assert_eq!(trace.counts(process).unwrap().ready, 0, "the thread is seen");
        drop(sender);
        let (thread, _) = vcpu.join().unwrap();
        assert!(!threads_of(process).any(|now| now == thread.cast_unsigned()), "and has ended");
        let hist = scratch.path().join("events/kvm").join(READY).join("hist");
        fs::write(
            hist,
            format!("{{ common_pid: {thread} }} hitcount: 1106\n{{ common_pid: 1 }} hitcount: 5\n"),
        )
        .unwrap();
        assert_eq!(trace.counts(process).unwrap().ready, 1106);
    }
}
