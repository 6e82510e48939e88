//! The service thread's own faults: it waits by halt, and loses nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, spawn};
use crate::host;

/// Where the intruder reads next, 0 for nowhere; and what came of it.
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);

/// A tracing layer that reads memory when told, on the thread that emits the
/// event: the service's, while it handles a fault.
pub struct Intruder;

impl<S: Subscriber> Layer<S> for Intruder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("apf_service::") {
            return;
        }
        let address = ADDRESS.swap(0, Ordering::AcqRel) as *const u64;
        if !address.is_null() {
            // SAFETY: `check` gives addresses of words that are never freed.
            VALUE.store(unsafe { address.read_volatile() }, Ordering::Relaxed);
            READS.fetch_add(1, Ordering::Release);
        }
    }
}

/// Tasks fault while the service thread faults at one event after another.
pub fn check(bench: &Bench) -> Verdict {
    const TASKS: u64 = 8;
    const PAGES: u64 = 8;
    let go = Sign::default();
    READS.store(0, Ordering::Relaxed);
    let (wrong, intruder_wrong, counts) = thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let go = &go;
                spawn(scope, move || {
                    go.wait_for(1);
                    (0..PAGES).filter(|_| !bench.read(bench.page())).count()
                })
            })
            .collect();
        host::evict();
        let before = host::counters();
        go.give();
        let mut intruder_wrong = 0;
        for read in 1..=TASKS {
            let (address, right) = bench.word();
            ADDRESS.store(address as usize, Ordering::Release);
            while READS.load(Ordering::Acquire) < read && tasks.iter().any(|task| !task.is_finished()) {
                thread::yield_now();
            }
            intruder_wrong += u64::from(VALUE.load(Ordering::Relaxed) != right);
        }
        let wrong: usize = tasks.into_iter().map(|task| task.join().expect("a reader")).sum();
        (wrong, intruder_wrong, host::counters().since(&before))
    });
    ADDRESS.store(0, Ordering::Release);
    let reads = READS.load(Ordering::Acquire);
    demand(reads == TASKS, || format!("the service thread came to only {reads} of {TASKS} reads"))?;
    demand(wrong == 0, || format!("{wrong} pages of the tasks were wrong"))?;
    demand(intruder_wrong == 0, || format!("{intruder_wrong} words of the service thread were wrong"))?;
    demand(counts.halt_waits >= TASKS, || {
        format!("{} halt waits for {TASKS} reads of the service thread", counts.halt_waits)
    })?;
    Ok(format!(
        "the service thread read {reads} evicted pages at its events, {} halt waits; {} pages of {TASKS} tasks right",
        counts.halt_waits,
        TASKS * PAGES
    ))
}
