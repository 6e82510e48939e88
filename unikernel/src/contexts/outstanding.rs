//! More faults at once than the host serves asynchronously.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use unikernel::wire::Counters;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, spawn_with_stack};
use crate::host;

const TASKS: usize = 100;
/// The kernel's own tables grow in the first, on pages that are out.
const ROUNDS: u64 = 2;
/// Linux's `ASYNC_PF_PER_VCPU`.
const HOST_LIMIT: u64 = 64;
/// All tasks have faulted before the first page comes.
const LATENCY: Duration = Duration::from_millis(500);
/// A hundred of them fit in the memory for stacks.
const STACK: usize = 32 * 1024;

/// Each task has a page of its own. The host takes 64 faults; at the next it
/// stops the core until its page is there, and all others with it.
pub fn check(bench: &Bench) -> Verdict {
    let (ready, go, back) = (Sign::default(), Sign::default(), Sign::default());
    let all_paged_out = Barrier::new(TASKS + 1);
    let (wrong, counts) = thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (ready, go, back, all_paged_out) = (&ready, &go, &back, &all_paged_out);
                spawn_with_stack(scope, STACK, move || {
                    all_paged_out.wait();
                    // Brings in the code and this task's stack.
                    let mut wrong = u32::from(!bench.read(bench.page()));
                    ready.give();
                    for round in 1..=ROUNDS {
                        go.wait_for(round);
                        wrong += u32::from(!bench.read(bench.page()));
                        back.give();
                    }
                    wrong
                })
            })
            .collect();
        host::evict();
        all_paged_out.wait();
        ready.wait_for(TASKS as u64);
        bench.slow_down(LATENCY);
        let mut counts = Counters::default();
        for round in 1..=ROUNDS {
            let before = host::counters();
            go.give();
            back.wait_for(round * TASKS as u64);
            counts = host::counters().since(&before);
        }
        bench.speed_up();
        let wrong: u32 = tasks.into_iter().map(|task| task.join().expect("a reader")).sum();
        (wrong, counts)
    });
    let waits = counts.schedule_waits + counts.halt_waits;
    let synchronous = (TASKS as u64).saturating_sub(counts.schedule_waits);
    demand(wrong == 0, || format!("{wrong} pages were wrong"))?;
    demand(counts.most_waiting >= HOST_LIMIT, || {
        format!("at most {} waited at once, {waits} in all", counts.most_waiting)
    })?;
    demand(synchronous > 0, || "the host took more than its limit".into())?;
    Ok(format!(
        "{TASKS} tasks right; at most {} waiting at once, {} asynchronous, {synchronous} synchronous",
        counts.most_waiting, counts.schedule_waits
    ))
}
