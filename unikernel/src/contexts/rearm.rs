//! The service stops and starts again while tasks wait.

use std::thread;
use std::time::Duration;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, spawn};
use crate::host;

const TASKS: u64 = 8;
/// Longer than stopping takes.
const LATENCY: Duration = Duration::from_millis(200);

/// Disarming releases every sleeper; their accesses fault again, now without
/// the service, and the host stops the core for them. After arming again,
/// faults are asynchronous as before, and tokens of the earlier life are gone.
pub fn check(bench: &Bench) -> Verdict {
    let (ready, go, back) = (Sign::default(), Sign::default(), Sign::default());
    let (wrong, waiting, lost, again) = thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (ready, go, back) = (&ready, &go, &back);
                spawn(scope, move || {
                    let mut wrong = u32::from(!bench.read(bench.page()));
                    ready.give();
                    go.wait_for(1);
                    wrong += u32::from(!bench.read(bench.page()));
                    back.give();
                    wrong
                })
            })
            .collect();
        host::evict();
        ready.wait_for(TASKS);
        // Stopping and starting makes tasks, which touches many pages in a
        // row: once now, so that they are there when it counts.
        let rehearsal = restart(bench);
        bench.slow_down(LATENCY);
        let before = host::counters();
        go.give();
        // Each gets its turn once before this task's next.
        while host::counters().since(&before).schedule_waits < TASKS && back.count() == 0 {
            thread::yield_now();
        }
        let waiting = TASKS - back.count();
        let again = rehearsal.and_then(|()| restart(bench));
        bench.speed_up();
        let wrong: u32 = tasks.into_iter().map(|task| task.join().expect("a reader")).sum();
        (wrong, waiting, host::counters().since(&before), again)
    });
    again?;
    let before = host::counters();
    let right = bench.read(bench.page());
    let after = host::counters().since(&before);
    let (released, lives) = (lost.not_present - lost.ready, lost.wake_all);
    demand(wrong == 0 && right, || "a page came back wrong".into())?;
    demand(waiting == TASKS, || format!("only {waiting} of {TASKS} tasks still waited"))?;
    demand(released >= TASKS, || format!("disarming released {released} of {TASKS} waiters"))?;
    demand(lives > 0, || "the host did not broadcast at the new arming".into())?;
    demand(after.schedule_waits > 0, || "no async page fault in the new life".into())?;
    Ok(format!(
        "{released} waiters released by disarming, all pages right; {} schedule wait(s) after it",
        after.schedule_waits
    ))
}

fn restart(bench: &Bench) -> Result<(), String> {
    bench.stop_service();
    bench.start_service()
}
