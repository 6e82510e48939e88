//! Counts of a VM since the watch began, and rates since the last look.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::guest::Guest;
use super::vm::Vm;
use crate::drive::trace::{Synchronous, ThreadCounts, Trace};

/// Figures of a VM, or of one of its virtual CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures<T> {
    /// Faults of which the host told the guest that the page is missing.
    pub not_present: T,
    /// Interrupts by which it told the guest that a page is back.
    pub ready: T,
    /// Faults for a page under way, for which it stopped the core.
    pub repeated: T,
    /// Faults for which it stopped the core, because 64 were outstanding.
    pub synchronous: T,
    /// Page faults for which the guest left its core.
    pub page_fault_exits: T,
}

impl<T: Copy> Figures<T> {
    /// Names for people, in the order of [`each`](Self::each).
    pub const NAMES: [&'static str; 5] =
        ["not present", "ready", "repeated", "synchronous", "page-fault exits"];

    /// Returns the figures.
    pub const fn each(&self) -> [T; 5] {
        [self.not_present, self.ready, self.repeated, self.synchronous, self.page_fault_exits]
    }

    fn map<U>(self, with: Self, f: impl Fn(T, T) -> U) -> Figures<U> {
        Figures {
            not_present: f(self.not_present, with.not_present),
            ready: f(self.ready, with.ready),
            repeated: f(self.repeated, with.repeated),
            synchronous: f(self.synchronous, with.synchronous),
            page_fault_exits: f(self.page_fault_exits, with.page_fault_exits),
        }
    }
}

impl From<&ThreadCounts> for Figures<u64> {
    fn from(ThreadCounts { counts, exits, .. }: &ThreadCounts) -> Self {
        Self {
            not_present: counts.not_present,
            ready: counts.ready,
            repeated: counts.repeated,
            synchronous: counts.synchronous,
            page_fault_exits: *exits,
        }
    }
}

/// Figures at one look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Time since the watch began.
    pub seconds: f64,
    /// True if the VM has ended.
    pub ended: bool,
    /// Counts of all its threads.
    pub total: Figures<u64>,
    /// Rates since the last look.
    pub per_second: Figures<f64>,
    /// Its threads that have counts.
    pub cores: Vec<Core>,
    /// The guest's own figures, if it is asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
}

/// A thread that runs a virtual CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Core {
    /// Number of the virtual CPU, if the kernel traces it.
    pub core: Option<u32>,
    pub thread: u32,
    pub total: Figures<u64>,
    pub per_second: Figures<f64>,
}

impl View {
    /// The view of these counts, `elapsed` seconds after those of the last look.
    fn new(
        threads: &BTreeMap<u32, ThreadCounts>,
        last: &BTreeMap<u32, ThreadCounts>,
        seconds: f64,
        elapsed: f64,
    ) -> Self {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed;
        let core = |(&thread, counts): (&u32, &ThreadCounts)| {
            let total = Figures::from(counts);
            let before = last.get(&thread).map(Figures::from).unwrap_or_default();
            Core { core: counts.core, thread, total, per_second: total.map(before, rate) }
        };
        let mut cores: Vec<_> = threads.iter().map(core).collect();
        cores.sort_by_key(|core| (core.core.unwrap_or(u32::MAX), core.thread));
        let total = cores.iter().fold(Figures::default(), |sum, core| sum.map(core.total, |a, b| a + b));
        let per_second =
            cores.iter().fold(Figures::default(), |sum, core| sum.map(core.per_second, |a, b| a + b));
        Self { seconds, ended: false, total, per_second, cores, guest: None }
    }

    /// Names of the columns of [`line`](Self::line).
    pub fn heading() -> String {
        let names = Figures::<u64>::NAMES.map(|name| format!("{name:>18}/s"));
        format!("{:>9}{}", "seconds", names.concat())
    }

    /// Counts and rates as a line, and the guest's figures below it.
    pub fn line(&self) -> String {
        let pairs = self.total.each().into_iter().zip(self.per_second.each());
        let cells: String = pairs.map(|(count, rate)| format!("{count:>12}{rate:>8.0}")).collect();
        let ended = if self.ended { "  the VM has ended" } else { "" };
        let guest = self.guest.iter().flat_map(Guest::lines).map(|line| format!("\n{:>9}  {line}", "guest"));
        format!("{:>9.1}{cells}{ended}{}", self.seconds, guest.collect::<String>())
    }
}

/// Counts a VM's page faults.
pub struct Meter {
    vm: Vm,
    trace: Trace,
    began: Instant,
    looked: Instant,
    /// Counts when it began: the kernel starts to count one event after the other.
    base: BTreeMap<u32, ThreadCounts>,
    last: BTreeMap<u32, ThreadCounts>,
}

impl Meter {
    /// Starts with zeros.
    pub fn new(vm: Vm, trace: Trace) -> Result<Self> {
        let base = trace.by_thread(vm.process(), Synchronous::AtLeast)?;
        let now = Instant::now();
        Ok(Self { vm, trace, began: now, looked: now, base, last: BTreeMap::new() })
    }

    /// Reads the counts.
    pub fn look(&mut self) -> Result<View> {
        // Asked first: of one that has ended since, the next look has all counts.
        let ended = !self.vm.runs();
        let mut threads = self.trace.by_thread(self.vm.process(), Synchronous::AtLeast)?;
        for (thread, now) in &mut threads {
            let base = self.base.get(thread).copied().unwrap_or_default();
            (now.counts, now.exits) = (now.counts.since(&base.counts), now.exits - base.exits);
            let before = self.last.get(thread).map_or(0, |last| last.counts.synchronous);
            now.counts.synchronous = now.counts.synchronous.max(before);
        }
        let now = Instant::now();
        let seconds = now.duration_since(self.began).as_secs_f64();
        let elapsed = now.duration_since(self.looked).as_secs_f64().max(1e-3);
        let view = View { ended, ..View::new(&threads, &self.last, seconds, elapsed) };
        (self.looked, self.last) = (now, threads);
        Ok(view)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::drive::spec::HostCounts;

    /// A VM of two virtual CPUs, two seconds after its last look.
    pub fn view() -> View {
        let counts = |core, not_present, exits| ThreadCounts {
            core,
            counts: HostCounts { not_present, ready: not_present - 1, repeated: 3, synchronous: 0 },
            exits,
            ..ThreadCounts::default()
        };
        let last = BTreeMap::from([(71, counts(Some(1), 10, 100))]);
        let threads = BTreeMap::from([(71, counts(Some(1), 30, 160)), (72, counts(Some(0), 4, 8))]);
        View::new(&threads, &last, 12.0, 2.0)
    }

    #[test]
    fn a_view_has_totals_and_rates_of_the_vm_and_each_core() {
        let view = view();
        assert_eq!(view.total.each(), [34, 32, 6, 0, 168]);
        assert_eq!(view.per_second.each(), [12.0, 11.5, 1.5, 0.0, 34.0]);
        let cores: Vec<_> = view.cores.iter().map(|core| (core.core, core.thread)).collect();
        assert_eq!(cores, [(Some(0), 72), (Some(1), 71)]);
        assert_eq!(view.cores[1].per_second.each(), [10.0, 10.0, 0.0, 0.0, 30.0]);
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["total"]["not_present"], &json["cores"][0]["core"]), (&34.into(), &0.into()));
        assert_eq!(json["per_second"]["page_fault_exits"], 34.0);
    }

    #[test]
    fn a_line_is_as_long_as_its_heading_and_says_that_the_vm_has_ended() {
        let view = view();
        assert_eq!(View::heading().len(), view.line().len());
        assert!(view.line().contains("34      12"), "{}", view.line());
        assert!(View { ended: true, ..view }.line().ends_with("the VM has ended"));
    }
}
