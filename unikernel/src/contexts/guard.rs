//! Faults inside `NonPreemptible` guards: the core waits, and no other task runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use apf_service::NonPreemptible;
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, demand};
use super::tasks::{Sign, Ticker, spawn};
use crate::host;

/// Observations of one round.
struct Seen {
    right: bool,
    /// The service's counts from the first guard to the end of the last.
    counts: Counters,
    /// Turns of a task of equal priority in the same time.
    turns: u64,
    /// The peer had its page: before the last guard was dropped, and right after.
    peer_ran: [bool; 2],
}

/// Checks guards: while a peer waits for a page, a page is read under two guards, the inner
/// guard is dropped, and another page is read. The peer's page arrives in this time, so that
/// the service thread and the peer, both of higher priority, could run. They must not run
/// until the last guard is dropped, and then must run at once.
pub fn check(bench: &Bench) -> Verdict {
    /// If the machine pauses for as long as a page-in takes, the peer continues before the
    /// guards: such a round is not used.
    const ROUNDS: usize = 8;
    let ticker = Ticker::default();
    let (go, about, back) = (Sign::default(), Sign::default(), Sign::default());
    let (peer_right, over) = (AtomicBool::new(true), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        spawn(scope, || ticker.run());
        spawn(scope, || {
            for round in 1.. {
                go.wait_for(round);
                if over.load(Ordering::Relaxed) {
                    return;
                }
                about.give();
                if !bench.read(bench.page()) {
                    peer_right.store(false, Ordering::Relaxed);
                }
                back.give();
            }
        });
        host::evict();
        let round = || {
            let pages = [bench.page(), bench.page()];
            let round = go.count() + 1;
            go.give();
            // True only once the peer waits: it does not yield in between.
            about.wait_for(round);
            let before = host::counters();
            let (outer, inner) = (NonPreemptible::enter(), NonPreemptible::enter());
            let (turns, came_early) = (ticker.turns(), back.count() == round);
            let mut right = bench.read(pages[0]);
            drop(inner);
            right &= bench.read(pages[1]);
            let (turns, counts) = (ticker.turns() - turns, host::counters().since(&before));
            let before_drop = back.count() == round;
            drop(outer);
            let peer_ran = [before_drop, back.count() == round];
            back.wait_for(round);
            (!came_early).then_some(Seen { right, counts, turns, peer_ran })
        };
        // Brings in code and stacks.
        round();
        let seen = (0..ROUNDS).find_map(|_| round());
        ticker.stop();
        over.store(true, Ordering::Relaxed);
        go.give();
        seen
    });
    let Some(Seen { right, counts, turns, peer_ran: [under_guard, after] }) = seen else {
        return Err(format!(
            "in each of {ROUNDS} rounds the peer's page arrived before the guards were entered"
        ));
    };
    demand(right && peer_right.into_inner(), || "a page has wrong data".into())?;
    demand(counts.halt_waits >= 2, || {
        format!("only {} of two reads under guards waited by halt", counts.halt_waits)
    })?;
    demand(counts.schedule_waits == 0, || "a read under a guard waited by schedule".into())?;
    demand(turns == 0, || format!("another task had {turns} turns under the guard"))?;
    demand(!under_guard, || "the peer got its page and continued under the guard".into())?;
    demand(counts.ready > counts.halt_waits, || {
        "the peer's page did not arrive under the guard, so no switch was withheld".into()
    })?;
    demand(after, || "the withheld switch did not happen when the guard was dropped".into())?;
    Ok(format!(
        "{} halt waits under 2 and 1 guards, no turn of another task; the peer, ready in that time, ran after the last",
        counts.halt_waits
    ))
}
