//! More faults at once than the host's limit of outstanding ones.

use std::thread;
use std::time::Duration;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, spawn};
use crate::host;

const LIMIT: u64 = apf_service::OUTSTANDING_PER_VCPU as u64;
/// 1.5 times the host's limit.
const TASKS: u64 = LIMIT * 3 / 2;
/// Longer than 64 faults take, so that the first page is not in before the limit is reached.
const LATENCY: Duration = Duration::from_secs(1);

/// Checks the limit: each task reads a page of its own, and nothing else is evicted, so 64
/// faults wait at once. At the next one the host stops the core, without an event, until the
/// page is in; later faults are below the limit again.
pub fn check(bench: &Bench) -> Verdict {
    let (about, go) = (Sign::default(), Sign::default());
    let pages: Vec<usize> = (0..TASKS).map(|_| bench.page()).collect();
    let (wrong, counts) = thread::scope(|scope| {
        let tasks: Vec<_> = pages
            .iter()
            .map(|&page| {
                let (about, go) = (&about, &go);
                spawn(scope, move || {
                    about.give();
                    go.wait_for(1);
                    u64::from(!bench.read(page))
                })
            })
            .collect();
        about.wait_for(TASKS);
        bench.evict(Some(LATENCY));
        let before = host::counters();
        go.give();
        let wrong: u64 = tasks.into_iter().map(|task| task.join().expect("a reader does not panic")).sum();
        (wrong, host::counters().since(&before))
    });
    demand(wrong == 0, || format!("{wrong} of {TASKS} pages have wrong data"))?;
    demand(counts.most_outstanding == LIMIT, || {
        format!("{} faults were outstanding at once, not {LIMIT}", counts.most_outstanding)
    })?;
    demand(counts.budget_spent > 0, || "reaching the limit was not counted".into())?;
    demand(counts.ready == counts.not_present, || {
        format!("{} not-present events, but {} ready events", counts.not_present, counts.ready)
    })?;
    let stopped = TASKS.checked_sub(counts.not_present).filter(|&stopped| stopped > 0);
    let stopped = stopped.ok_or_else(|| format!("{} faults of {TASKS} pages", counts.not_present))?;
    Ok(format!(
        "{LIMIT} of {TASKS} outstanding at once, the limit reached {} time(s); {stopped} stopped the core",
        counts.budget_spent
    ))
}
