//! Faults of ordinary tasks, which wait by schedule.

use std::thread;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, Ticker, spawn};
use crate::host;

/// Checks that a task's fault waits by schedule while another task runs.
pub fn check(bench: &Bench) -> Verdict {
    let ticker = Ticker::default();
    let (right, turns, counts) = thread::scope(|scope| {
        spawn(scope, || ticker.run());
        host::evict();
        // Brings in the other task's code and stacks, which are evicted as well.
        ticker.wait_for_more(3);
        let seen = bench.warm(|| {
            let (before, turns) = (host::counters(), ticker.turns());
            let right = bench.read(bench.page());
            (right, ticker.turns() - turns, host::counters().since(&before))
        });
        ticker.stop();
        seen
    });
    demand(right, || "the page has wrong data".into())?;
    demand(counts.schedule_waits > 0, || "the fault did not wait by schedule".into())?;
    demand(turns > 0, || "no other task ran while it waited".into())?;
    demand(apf_service::has_delivered(), || "the service does not know that a fault was told".into())?;
    Ok(format!("{} schedule wait(s), another task had {turns} turns meanwhile", counts.schedule_waits))
}

/// Checks two faults at once: of two tasks on two pages, then of two tasks on one page.
pub fn two_at_once(bench: &Bench) -> Verdict {
    const ROUNDS: u64 = 4;
    let go = Sign::default();
    let pages: Vec<[usize; 2]> = (0..ROUNDS)
        .map(|round| {
            let first = bench.page();
            // In the first two rounds each task has its own page, in the others both share one.
            [first, if round < ROUNDS / 2 { bench.page() } else { first }]
        })
        .collect();
    let about = Sign::default();
    let (wrong, rounds) = thread::scope(|scope| {
        let tasks = [0, 1].map(|task| {
            let (go, about, pages) = (&go, &about, &pages);
            spawn(scope, move || {
                (1..).zip(pages).fold(0, |wrong, (round, pages)| {
                    go.wait_for(round);
                    about.give();
                    // Neither reads before both are ready to.
                    about.wait_for(round * 2);
                    wrong + u32::from(!bench.read(pages[task]))
                })
            })
        });
        host::evict();
        let mut rounds = Vec::new();
        for round in 1..=ROUNDS {
            let before = host::counters();
            go.give();
            about.wait_for(round * 2);
            // Waits until every wait of this round has ended, then takes the counts.
            loop {
                thread::yield_now();
                let counts = host::counters().since(&before);
                if counts.not_present == counts.ready && counts.not_present > 0 {
                    break rounds.push(counts);
                }
            }
        }
        let wrong: u32 = tasks.map(|task| task.join().expect("a reader")).iter().sum();
        (wrong, rounds)
    });
    demand(wrong == 0, || format!("{wrong} of {} reads returned wrong data", ROUNDS * 2))?;
    // The second round of each kind: code and stacks are resident then.
    let (two, one) = (&rounds[1], &rounds[3]);
    demand(two.schedule_waits >= 2, || format!("two pages: only {} waited by schedule", two.schedule_waits))?;
    demand(one.schedule_waits >= 1, || "one page: no task waited by schedule".into())?;
    Ok(format!("{} schedule waits on two pages, {} on one", two.schedule_waits, one.schedule_waits))
}
