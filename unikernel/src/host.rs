//! Messages to the host, and its answers.

use std::io::Write;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use apf_vocabulary::attack::Attack;
use apf_vocabulary::mailbox::Mailbox;
use apf_vocabulary::message::PREFIX;
use apf_vocabulary::pager::Parts;
use apf_vocabulary::{Counters, Histogram, Message};

use crate::platform;
use crate::region::Region;

static MAILBOX: Mailbox = Mailbox::new();
/// The kernel busy-waits for less than 10 ms.
const POLL: Duration = Duration::from_millis(10);

/// Prints a message in one write.
pub fn send(message: &Message) {
    let line = format!("{PREFIX}{}\n", serde_json::to_string(message).expect("messages are plain data"));
    let mut out = std::io::stdout().lock();
    // An error means that the host has ended the run: the program will end as well.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// Reports that the program runs, with a region of so many pages.
pub fn hello(region_pages: usize) {
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let (tsc_mhz, kernel) = (platform::tsc_mhz(), platform::kernel_code());
    send(&Message::Hello { tsc_mhz, cores, region_pages, entry: entry(), kernel });
}

/// Address of the kernel's entry point: the ELF header's, moved by the VMM.
fn entry() -> u64 {
    unsafe extern "C" {
        // The linker's entry symbol.
        fn _start();
    }
    _start as *const () as u64
}

/// Asks the host to evict all memory.
pub fn evict() {
    evict_all(None, 0);
}

/// Asks the host to evict all memory. From now on page-ins take `latency`, or the time that the run
/// has set; `seed` is for random ones.
pub fn evict_all(latency: Option<Duration>, seed: u64) {
    let page_latency_us = latency.map(micros);
    ask(|request| Message::Evict { request, only: None, local: None, page_latency_us, seed });
}

/// Asks the host to evict only the memory of `region`; code and stacks stay.
pub fn evict_only(region: &Region, latency: Option<Duration>, seed: u64) {
    evict_parts(region.physical(), None, latency, seed);
}

/// Asks the host to leave no more than the share `local` of these ranges in memory from now on.
pub fn keep_local(ranges: Vec<Range<u64>>, local: f64, latency: Option<Duration>, seed: u64) {
    evict_parts(ranges, Some(local), latency, seed);
}

fn evict_parts(ranges: Vec<Range<u64>>, local: Option<f64>, latency: Option<Duration>, seed: u64) {
    let page_latency_us = latency.map(micros);
    ask(|request| {
        // Not before the request is in it: a first write may move it to another page.
        let mailbox = platform::physical_address(&raw const MAILBOX).expect("it is mapped");
        let only = Some(Parts { mailbox, ranges });
        Message::Evict { request, only, local, page_latency_us, seed }
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Asks the host to bring all memory back.
pub fn restore() {
    ask(|request| Message::Restore { request });
}

/// Asks the host to attack this program from now on.
pub fn attack(attack: Attack) {
    ask(|request| Message::Attack { request, attack });
}

/// Asks the host to end its counts of a sample.
pub fn measured() {
    ask(|request| Message::SampleMeasured { request });
}

fn ask(message: impl FnOnce(u64) -> Message) {
    let request = MAILBOX.next_request();
    send(&message(request));
    while !MAILBOX.is_acknowledged(request) {
        thread::sleep(POLL);
    }
}

/// Returns the counts of the service on all cores; of Linux, those of its kernel.
pub fn counters() -> Counters {
    let mut counters = Counters::sum(apf_service::stats().map(|(_, core)| core));
    counters.ready += platform::ready_interrupts();
    counters
}

/// The service's histograms as they are now, each summed over all cores.
pub fn histograms() -> Vec<Histogram> {
    let cores: Vec<_> = apf_service::stats().map(|(_, core)| core).collect();
    Histogram::stages(&cores, platform::tsc_mhz().into())
}
