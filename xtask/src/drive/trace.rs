//! The host kernel's own count of async page faults, by its tracepoints.
//!
//! What the guest is told of is counted where KVM tells it: a page fault that it injects
//! (`kvm_inj_exception`) and an interrupt that it sends (`kvm_apic_accept_irq`).
//! `kvm_async_pf_not_present` and `kvm_async_pf_ready` also have the faults of a core that has
//! async page faults off: KVM stops it and reads the page in the same way
//! (`kvm_arch_async_page_not_present`, arch/x86/kvm/x86.c). A core is off while it stops the
//! service, which touches memory.
//!
//! `kvm_try_async_get_page` is hit by a fault that could become an async one, and
//! `kvm_async_pf_repeated_fault` when its page is under way already
//! (arch/x86/kvm/mmu/mmu.c). What is left found 64 outstanding (virt/kvm/async_pf.c) and was
//! served synchronously.
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

/// An event of the host's kernel and which of its hits count.
struct Event {
    name: &'static str,
    filter: &'static str,
    /// A field that is false in hits that count; older kernels do not have it, nor the other hits.
    unless: Option<&'static str>,
}

impl Event {
    const fn every(name: &'static str) -> Self {
        Self { name, filter: "", unless: None }
    }

    fn folder(&self, instance: &Path) -> PathBuf {
        instance.join("events/kvm").join(self.name)
    }

    /// The histogram trigger that counts it in `instance`.
    fn trigger(&self, instance: &Path) -> String {
        let format = fs::read_to_string(self.folder(instance).join("format")).unwrap_or_default();
        let unless = self.unless.filter(|field| format.contains(&format!(" {field};")));
        let unless = unless.map(|field| format!("{field}==0"));
        let filter = [self.filter.to_owned()].into_iter().filter(|filter| !filter.is_empty()).chain(unless);
        let filter = filter.collect::<Vec<_>>().join(" && ");
        let condition = if filter.is_empty() { String::new() } else { format!(" if {filter}") };
        format!("hist:keys=common_pid:size=4096{condition}")
    }
}

/// The guest is told that a page is missing, by #PF with error code 0. An exception is injected
/// again if its own delivery faulted, on the stack for example.
const TOLD: Event =
    Event { name: "kvm_inj_exception", filter: "exception==14 && error_code==0", unless: Some("reinjected") };
/// The guest is told that a page is back. Hermit and Linux have the same vector
/// (`HYPERVISOR_CALLBACK_VECTOR`), for nothing else.
const READY: Event = Event { name: "kvm_apic_accept_irq", filter: "vec==243", unless: None };
const NOT_PRESENT: Event = Event::every("kvm_async_pf_not_present");
const TRIED: Event = Event::every("kvm_try_async_get_page");
const REPEATED: Event = Event::every("kvm_async_pf_repeated_fault");
const EVENTS: [&Event; 5] = [&TOLD, &READY, &NOT_PRESENT, &TRIED, &REPEATED];

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
            let trigger = event.folder(&instance).join("trigger");
            fs::write(&trigger, event.trigger(&instance))
                .with_context(|| format!("cannot write {}", trigger.display()))?;
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
        let count = |event: &Event| {
            let path = event.folder(&self.instance).join("hist");
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok::<u64, anyhow::Error>(hits(&text, &threads))
        };
        // In the order in which they happen to a fault, the last one first: a
        // fault in between is then not counted as synchronous for good.
        let (ready, told, not_present) = (count(&READY)?, count(&TOLD)?, count(&NOT_PRESENT)?);
        let repeated = count(&REPEATED)?;
        let synchronous = count(&TRIED)?.saturating_sub(repeated + not_present);
        Ok(HostCounts { not_present: told, ready, synchronous, repeated })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in EVENTS {
            let trigger = event.folder(&self.instance).join("trigger");
            let _ = fs::write(trigger, format!("!{}", event.trigger(&self.instance)));
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

    #[test]
    fn an_exception_that_is_injected_again_is_not_counted_where_the_kernel_traces_it() {
        let scratch = crate::dirs::scratch("trace-test").unwrap();
        let trigger = || TOLD.trigger(scratch.path());
        assert_eq!(trigger(), "hist:keys=common_pid:size=4096 if exception==14 && error_code==0");
        let folder = TOLD.folder(scratch.path());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("format"), "\tfield:bool reinjected;\toffset:16;\tsize:1;\n").unwrap();
        assert_eq!(
            trigger(),
            "hist:keys=common_pid:size=4096 if exception==14 && error_code==0 && reinjected==0"
        );
        assert_eq!(TRIED.trigger(scratch.path()), "hist:keys=common_pid:size=4096");
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
            let folder = event.folder(scratch.path());
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("hist"), "").unwrap();
        }
        assert_eq!(trace.counts(process).unwrap().ready, 0, "the thread is seen");
        drop(sender);
        let (thread, _) = vcpu.join().unwrap();
        assert!(!threads_of(process).any(|now| now == thread.cast_unsigned()), "and has ended");
        let hist = READY.folder(scratch.path()).join("hist");
        fs::write(
            hist,
            format!("{{ common_pid: {thread} }} hitcount: 1106\n{{ common_pid: 1 }} hitcount: 5\n"),
        )
        .unwrap();
        assert_eq!(trace.counts(process).unwrap().ready, 1106);
    }
}
