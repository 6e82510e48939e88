//! Halts for a page that takes longer than a halt may.

use std::thread;
use std::time::{Duration, Instant};

use apf_service::{Config, NonPreemptible, Waits};
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, config, demand};
use super::tasks::{Sign, spawn};
use crate::host;

/// Page-in latency, far above each limit.
const LONG: Duration = Duration::from_secs(1);

/// Checks a wait under a guard whose ready event does not come before the watchdog's limit:
/// the access is retried, and has its page in the end. The late ready event has no effect.
pub fn overdue_halt(bench: &Bench) -> Verdict {
    bench.restart(Config { watchdog: Some(LONG / 10), ..config() })?;
    bench.evict(Some(LONG));
    let before = host::counters();
    let right = {
        let _guard = NonPreemptible::enter();
        bench.read(bench.page())
    };
    let counts = host::counters().since(&before);
    bench.evict(None);
    let right_after = bench.read(bench.page());
    bench.restart(config())?;
    demand(right && right_after, || "a page has wrong data".into())?;
    demand(counts.overdue_halts > 0, || "the wait was not retried before its page was in".into())?;
    Ok(format!("{} wait(s) by halt retried", counts.overdue_halts))
}

/// Checks that a task that halts because pages came fast does not keep a sleeper waiting for
/// a page that comes late.
pub fn late_page(bench: &Bench) -> Verdict {
    const ROUNDS: usize = 10;
    bench.restart(Config { waits: Waits::Auto, ..config() })?;
    // On a busy machine one of the pages before may come slowly as well, and then nothing halts.
    let met_by_halt = |late: &Late| !late.right || late.counts.halt_cheaper > 0;
    let late = (0..ROUNDS).map(|_| Late::after_fast_pages(bench)).find(met_by_halt);
    bench.restart(config())?;
    let Late { right, took, slept, counts } =
        late.ok_or("the task did not halt: the pages before came too slowly")?;
    demand(right, || "a page has wrong data".into())?;
    demand(counts.halt_continued > 0, || "no wait continued by schedule".into())?;
    demand(took > LONG / 2, || format!("the page took only {took:?}"))?;
    demand(slept < LONG / 2, || format!("a task that sleeps for {NAP:?} slept for {slept:?}"))?;
    Ok(format!("a sleep of {NAP:?} took {slept:?} beside a page of {took:?}"))
}

/// Time for which the task beside the late page sleeps.
const NAP: Duration = Duration::from_millis(50);

/// A late page, and a task that slept beside it.
struct Late {
    right: bool,
    took: Duration,
    slept: Duration,
    counts: Counters,
}

impl Late {
    /// Reads fast pages until the policy has learnt that halts are cheaper, and then a late one.
    fn after_fast_pages(bench: &Bench) -> Self {
        const MOST: usize = 1000;
        const HALTS: u64 = 4;
        bench.evict(Some(Duration::ZERO));
        let before = host::counters();
        let halts = || host::counters().since(&before).halt_cheaper;
        let mut right = (0..MOST).take_while(|_| halts() < HALTS).all(|_| bench.read(bench.page()));
        bench.evict(Some(LONG));
        let before = host::counters();
        let asleep = Sign::default();
        let (slept, took) = thread::scope(|scope| {
            let sleeper = spawn(scope, || {
                let start = Instant::now();
                asleep.give();
                thread::sleep(NAP);
                start.elapsed()
            });
            asleep.wait_for(1);
            let start = Instant::now();
            right &= bench.read(bench.page());
            let took = start.elapsed();
            (sleeper.join().expect("the task does not panic"), took)
        });
        Self { right, took, slept, counts: host::counters().since(&before) }
    }
}
