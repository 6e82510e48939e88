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
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::spec::HostCounts;
use crate::process::Scratch;

/// An event of the host's kernel, and which of its hits count.
#[derive(PartialEq, Eq)]
struct Event {
    name: &'static str,
    filter: &'static str,
    /// A field that is false in hits that count; older kernels do not have it, nor the other hits.
    unless: Option<&'static str>,
    /// A field by which hits are told apart; older kernels do not have it.
    by: Option<&'static str>,
}

impl Event {
    const fn every(name: &'static str) -> Self {
        Self::some(name, "")
    }

    const fn some(name: &'static str, filter: &'static str) -> Self {
        Self { name, filter, unless: None, by: None }
    }

    fn folder(&self, instance: &Path) -> PathBuf {
        instance.join("events/kvm").join(self.name)
    }

    /// The histogram trigger that counts it in `instance`.
    fn trigger(&self, instance: &Path) -> String {
        let format = fs::read_to_string(self.folder(instance).join("format")).unwrap_or_default();
        let has = |field: &&str| format.contains(&format!(" {field};"));
        let by = self.by.filter(has).map(|field| format!(",{field}")).unwrap_or_default();
        let unless = self.unless.filter(has).map(|field| format!("{field}==0"));
        let filter = [self.filter.to_owned()].into_iter().filter(|filter| !filter.is_empty()).chain(unless);
        let filter = filter.collect::<Vec<_>>().join(" && ");
        let condition = if filter.is_empty() { String::new() } else { format!(" if {filter}") };
        format!("hist:keys=common_pid{by}:size=4096{condition}")
    }
}

/// The guest is told that a page is missing, by #PF with error code 0. An exception is injected
/// again if its own delivery faulted, on the stack for example.
const TOLD: Event = Event {
    unless: Some("reinjected"),
    ..Event::some("kvm_inj_exception", "exception==14 && error_code==0")
};
/// The guest is told that a page is back. Hermit and Linux have the same vector
/// (`HYPERVISOR_CALLBACK_VECTOR`), for nothing else.
const READY: Event = Event::some("kvm_apic_accept_irq", "vec==243");
const NOT_PRESENT: Event = Event::every("kvm_async_pf_not_present");
const TRIED: Event = Event::every("kvm_try_async_get_page");
const REPEATED: Event = Event::every("kvm_async_pf_repeated_fault");
const EVENTS: [&Event; 5] = [&TOLD, &READY, &NOT_PRESENT, &TRIED, &REPEATED];
/// Every page fault for which the guest leaves its core. Counting them costs each a little, so a
/// measurement does not.
const EXIT: Event = Event { by: Some("vcpu_id"), ..Event::every("kvm_page_fault") };
const EVENTS_AND_EXITS: [&Event; 6] = [&TOLD, &READY, &NOT_PRESENT, &TRIED, &REPEATED, &EXIT];

/// The counts of one thread of a VMM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadCounts {
    /// Number of its virtual CPU, once that has had a page fault and if the kernel traces it.
    pub core: Option<u32>,
    pub counts: HostCounts,
    /// Page faults for which the guest left its core.
    pub exits: u64,
    /// Faults that could become async ones.
    pub tried: u64,
    /// Those that did, or found their page under way.
    pub known: u64,
}

/// Count of synchronous faults, while others happen: those under way when it is read are in it, or
/// are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// They are: none is missed.
    AtMost,
    /// They are not: each that is counted is one.
    AtLeast,
}

/// Counting, until dropped.
pub struct Trace {
    instance: PathBuf,
    events: &'static [&'static Event],
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
        Self::count_events(&EVENTS)
    }

    /// Starts to count, page-fault exits as well.
    ///
    /// # Errors
    /// The kernel's tracing is not accessible to this user.
    pub fn with_exits() -> Result<Self> {
        Self::count_events(&EVENTS_AND_EXITS)
    }

    fn count_events(events: &'static [&'static Event]) -> Result<Self> {
        let tracing = tracing(&["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].map(Path::new))?;
        let instance = tracing.join(format!("instances/apf-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let guard = Scratch::guard(&instance);
        for event in events {
            let trigger = event.folder(&instance).join("trigger");
            fs::write(&trigger, event.trigger(&instance))
                .with_context(|| format!("cannot write {}", trigger.display()))?;
        }
        Ok(Self { instance, events, threads: RefCell::default(), _guard: guard })
    }

    /// Returns the counts of all threads that `process` has, or has had at an earlier call.
    ///
    /// # Errors
    /// It never had one, or the counts cannot be read.
    pub fn counts(&self, process: u32) -> Result<HostCounts> {
        let threads = self.by_thread(process, Synchronous::AtMost)?;
        Ok(threads.values().fold(HostCounts::default(), |sum, thread| sum.plus(&thread.counts)))
    }

    /// Returns the same for each thread that has any; exits only if they are counted.
    ///
    /// # Errors
    /// As for [`counts`](Self::counts).
    pub fn by_thread(&self, process: u32, bound: Synchronous) -> Result<BTreeMap<u32, ThreadCounts>> {
        let mut seen = self.threads.borrow_mut();
        seen.extend(threads_of(process));
        if seen.is_empty() {
            bail!("the VMM is gone");
        }
        let mut threads = BTreeMap::<u32, ThreadCounts>::new();
        let mut add = |event: &Event, count: fn(&mut ThreadCounts, Hits)| -> Result<()> {
            let path = event.folder(&self.instance).join("hist");
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for hits in hits(&text).filter(|hits| seen.contains(&hits.thread)) {
                count(threads.entry(hits.thread).or_default(), hits);
            }
            Ok(())
        };
        if bound == Synchronous::AtLeast {
            add(&TRIED, |thread, hits| thread.tried = hits.count)?;
        }
        // In the order in which they happen to a fault, the last one first: a
        // fault in between is then not counted as synchronous for good.
        add(&READY, |thread, hits| thread.counts.ready = hits.count)?;
        add(&TOLD, |thread, hits| thread.counts.not_present = hits.count)?;
        add(&NOT_PRESENT, |thread, hits| thread.known = hits.count)?;
        add(&REPEATED, |thread, hits| thread.counts.repeated = hits.count)?;
        if bound == Synchronous::AtMost {
            add(&TRIED, |thread, hits| thread.tried = hits.count)?;
        }
        if self.events.contains(&&EXIT) {
            add(&EXIT, |thread, hits| {
                thread.exits += hits.count;
                thread.core = hits.core;
            })?;
        }
        for thread in threads.values_mut() {
            thread.known += thread.counts.repeated;
            thread.counts.synchronous = thread.tried.saturating_sub(thread.known);
        }
        Ok(threads)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in self.events {
            let trigger = event.folder(&self.instance).join("trigger");
            let _ = fs::write(trigger, format!("!{}", event.trigger(&self.instance)));
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Finds the kernel's tracing with KVM's tracepoints at one of its places.
fn tracing<'a>(places: &[&'a Path]) -> Result<&'a Path> {
    let error = |place: &&&Path| fs::metadata(place.join("events/kvm")).err();
    if let Some(place) = places.iter().find(|place| error(place).is_none()) {
        return Ok(place);
    }
    if places.iter().any(|place| error(&place).is_some_and(|it| it.kind() == ErrorKind::PermissionDenied)) {
        bail!("the host's KVM tracepoints are not open to this user: run as root");
    }
    if places.iter().any(|place| place.join("events").is_dir()) {
        bail!("the host has no KVM tracepoints: its kernel's module kvm is not loaded");
    }
    bail!(
        "the host's KVM tracepoints are not visible: run as root, with tracefs mounted \
         (mount -t tracefs tracefs /sys/kernel/tracing)"
    )
}

/// The threads that `process` has now; none if it has ended.
fn threads_of(process: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A line of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hits {
    thread: u32,
    core: Option<u32>,
    count: u64,
}

/// Reads the lines `{ common_pid:       1234, vcpu_id:          0 } hitcount:         56`.
fn hits(histogram: &str) -> impl Iterator<Item = Hits> {
    let number_after = |line: &str, name: &str| -> Option<u64> {
        line.split_once(name)?.1.split_whitespace().next()?.trim_end_matches(',').parse().ok()
    };
    histogram.lines().filter_map(move |line| {
        let thread = number_after(line, "common_pid:")?.try_into().ok()?;
        let core = number_after(line, "vcpu_id:").and_then(|core| core.try_into().ok());
        Some(Hits { thread, core, count: number_after(line, "hitcount:")? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace whose histograms are files, each empty.
    fn made_up(folder: &Path, events: &'static [&'static Event]) -> Trace {
        for event in events {
            fs::create_dir_all(event.folder(folder)).unwrap();
            fs::write(event.folder(folder).join("hist"), "").unwrap();
        }
        let (instance, guard) = (folder.to_path_buf(), Scratch::guard(folder));
        Trace { instance, events, threads: RefCell::default(), _guard: guard }
    }

    #[test]
    fn a_histograms_lines_are_read_with_and_without_a_core() {
        let text = "# event histogram\n#\n\n{ common_pid:        120 } hitcount:         17\n\
                    { common_pid:        121, vcpu_id:          3 } hitcount:          5\n\n\
                    Totals:\n    Hits: 22\n    Entries: 2\n    Dropped: 0\n";
        let read: Vec<_> = hits(text).map(|hit| (hit.thread, hit.core, hit.count)).collect();
        assert_eq!(read, [(120, None, 17), (121, Some(3), 5)]);
    }

    #[test]
    fn only_the_vmms_threads_count_each_for_itself() {
        let scratch = crate::dirs::scratch("trace-threads").unwrap();
        let trace = made_up(scratch.path(), &EVENTS_AND_EXITS);
        let thread = nix::unistd::gettid().as_raw();
        for (event, count) in [(TOLD, 5), (READY, 4), (NOT_PRESENT, 6), (TRIED, 10), (REPEATED, 1)] {
            let text =
                format!("{{ common_pid: {thread} }} hitcount: {count}\n{{ common_pid: 1 }} hitcount: 99\n");
            fs::write(event.folder(scratch.path()).join("hist"), text).unwrap();
        }
        let exits = format!("{{ common_pid: {thread}, vcpu_id:  2 }} hitcount: 70\n");
        fs::write(EXIT.folder(scratch.path()).join("hist"), exits).unwrap();
        let counts = HostCounts { not_present: 5, ready: 4, synchronous: 3, repeated: 1 };
        assert_eq!(trace.counts(std::process::id()).unwrap(), counts);
        let expected = ThreadCounts { core: Some(2), counts, exits: 70, tried: 10, known: 7 };
        for bound in [Synchronous::AtMost, Synchronous::AtLeast] {
            let by_thread = trace.by_thread(std::process::id(), bound).unwrap();
            assert_eq!(by_thread, BTreeMap::from([(thread.cast_unsigned(), expected)]));
        }
    }

    #[test]
    fn tracing_that_is_not_there_is_explained() {
        let scratch = crate::dirs::scratch("trace-places").unwrap();
        let places = ["debug", "tracing"].map(|name| scratch.path().join(name));
        let places = [places[0].as_path(), places[1].as_path()];
        assert!(tracing(&places).unwrap_err().to_string().contains("mount -t tracefs"));
        fs::create_dir_all(places[1].join("events")).unwrap();
        assert!(tracing(&places).unwrap_err().to_string().contains("module kvm is not loaded"));
        fs::create_dir_all(places[1].join("events/kvm")).unwrap();
        assert_eq!(tracing(&places).unwrap(), places[1]);
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
        fs::create_dir_all(EXIT.folder(scratch.path())).unwrap();
        let format = "\tfield:unsigned int vcpu_id;\toffset:8;\tsize:4;\n";
        fs::write(EXIT.folder(scratch.path()).join("format"), format).unwrap();
        assert_eq!(EXIT.trigger(scratch.path()), "hist:keys=common_pid,vcpu_id:size=4096");
    }

    /// A file stands in for the kernel's histogram.
    #[test]
    fn threads_that_have_ended_keep_their_counts() {
        let scratch = crate::dirs::scratch("trace-test").unwrap();
        let trace = made_up(scratch.path(), &EVENTS);
        let (sender, ended) = std::sync::mpsc::channel::<()>();
        let vcpu = std::thread::spawn(move || {
            let thread = nix::unistd::gettid().as_raw();
            (thread, ended.recv().is_err())
        });
        let process = std::process::id();
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
