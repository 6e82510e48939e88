//! Talking to the host.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::Duration;

use apf_service::{CoreStats, Counter, Histogram, StageHistograms};
use unikernel::mailbox::Mailbox;
use unikernel::wire::{Counters, Message, PREFIX, Parts, StageHistogram};

use crate::platform;
use crate::region::Region;

static MAILBOX: Mailbox = Mailbox::new();
/// The kernel busy-waits for less than 10 ms.
const POLL: Duration = Duration::from_millis(10);

/// Prints a message in one write.
pub fn tell(message: &Message) {
    let line = format!("{PREFIX}{}\n", serde_json::to_string(message).expect("messages are plain data"));
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: the host has ended the run, so will we.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// Where the kernel's entry point is: the ELF header's, and how far the VMM has moved it.
pub fn entry() -> u64 {
    unsafe extern "C" {
        // What the linker was told to begin with.
        fn _start();
    }
    _start as *const () as u64
}

/// Has all memory paged out.
pub fn evict() {
    evict_all(None, 0);
}

/// The same; page-ins take `latency` from now on, or as long as the run was
/// told; a random course of them begins at `seed`.
pub fn evict_all(latency: Option<Duration>, seed: u64) {
    let page_latency_us = latency.map(micros);
    ask(|request| Message::Evict { request, only: None, page_latency_us, seed });
}

/// The same with only the memory of `region`: code and stacks stay.
pub fn evict_only(region: &Region, latency: Option<Duration>, seed: u64) {
    let page_latency_us = latency.map(micros);
    ask(|request| {
        // Not before the request is in it: a first write may move it to another page.
        let mailbox = platform::physical_address(&raw const MAILBOX).expect("it is mapped");
        let only = Some(Parts { mailbox, ranges: region.physical() });
        Message::Evict { request, only, page_latency_us, seed }
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Has all memory brought back.
pub fn restore() {
    ask(|request| Message::Restore { request });
}

/// Has the host end its counts of a sample.
pub fn measured() {
    ask(|request| Message::SampleMeasured { request });
}

fn ask(message: impl FnOnce(u64) -> Message) {
    let request = MAILBOX.next_request();
    tell(&message(request));
    while !MAILBOX.is_acknowledged(request) {
        thread::sleep(POLL);
    }
}

fn sum(field: impl Fn(&CoreStats) -> &Counter) -> u64 {
    apf_service::stats().map(|(_, stats)| field(stats).get()).sum()
}

/// What the service has counted on all cores, or the kernel where that is its business.
pub fn counters() -> Counters {
    Counters {
        not_present: sum(|s| &s.not_present),
        ready: sum(|s| &s.ready) + platform::ready_interrupts(),
        wake_all: sum(|s| &s.wake_all),
        spurious_interrupts: sum(|s| &s.spurious_interrupts),
        schedule_waits: sum(|s| &s.schedule_waits),
        halt_waits: sum(|s| &s.halt_waits),
        early_ready: sum(|s| &s.early_ready),
        overflow_halts: sum(|s| &s.overflow_halts),
        overflow_retries: sum(|s| &s.overflow_retries),
        deferred_ready: sum(|s| &s.deferred_ready),
        unknown_reason: sum(|s| &s.unknown_reason),
        most_waiting: sum(|s| &s.most_waiting),
        most_outstanding: sum(|s| &s.most_outstanding),
        budget_spent: sum(|s| &s.budget_spent),
        halt_kernel_text: sum(|s| &s.halt_kernel_text),
        halt_idle: sum(|s| &s.halt_idle),
        halt_guard: sum(|s| &s.halt_guard),
        halt_foreign_stack: sum(|s| &s.halt_foreign_stack),
        halt_cheaper: sum(|s| &s.halt_cheaper),
    }
}

/// Tells the histograms of all cores, each summed up.
pub fn tell_histograms() {
    for (wait, stage, buckets) in histograms() {
        let buckets = buckets.into_iter().collect();
        tell(&Message::Histogram(StageHistogram { wait: wait.into(), stage: stage.into(), buckets }));
    }
}

/// The histograms of all cores, each summed up: kind of wait, stage, buckets.
pub fn histograms() -> Vec<(&'static str, &'static str, BTreeMap<u64, u32>)> {
    type Stage = fn(&StageHistograms) -> &Histogram;
    type Wait = fn(&CoreStats) -> &StageHistograms;
    let stages: [(&str, Stage); 5] = [
        ("fault_to_parked", |h| &h.fault_to_parked),
        ("host", |h| &h.host),
        ("ready_to_service", |h| &h.ready_to_service),
        ("ready_to_running", |h| &h.ready_to_running),
        ("total", |h| &h.total),
    ];
    let waits: [(&str, Wait); 2] = [("schedule", |s| &s.schedule), ("halt", |s| &s.halt)];
    let mut all = Vec::new();
    for (wait, of_kind) in waits {
        for (stage, of_stage) in stages {
            let mut buckets = BTreeMap::<u64, u32>::new();
            for (_, stats) in apf_service::stats() {
                for (low, count) in of_stage(of_kind(stats)).nonempty() {
                    *buckets.entry(low).or_default() += count;
                }
            }
            all.push((wait, stage, buckets));
        }
    }
    all
}
