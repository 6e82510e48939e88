//! Checks across cores: wake-ups, quiescing, and a ready event on another core than its fault.
//!
//! KVM raises a ready event on the core that faulted. So a task on the second core plays the
//! host: it writes the token of a fault of the first core to its own core's area, and raises
//! the interrupt.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use apf_service::{CoreId, CoreStats, NonPreemptible, Service, StageHistograms, this_core};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::{Bench, Verdict, demand};
use super::hostile::{raise, state};
use super::tasks::{Sign, on_core};
use crate::host;

/// The first core, which runs the program's first task, and another.
const HERE: CoreId = CoreId(0);
const THERE: CoreId = CoreId(1);
/// Page-in latency: much longer than a wake-up takes.
const LATENCY: Duration = Duration::from_secs(1);

/// Checks wake-ups: two tasks on two cores wake each other in turn, after a random time, so
/// that a core is often woken just when it becomes idle. If a wake-up can arrive between the
/// core's check of its input and its halt, this hangs.
pub fn wake_ups(bench: &Bench) -> Verdict {
    const ROUNDS: u64 = 3_000;
    /// Longer than the time from the end of a core's task to its halt.
    const LONGEST_US: u64 = 400;
    let (turn, changed, there) = (Mutex::new(0), Condvar::new(), Sign::default());
    let start = Instant::now();
    let play = |parity: u64| {
        let mut random = SmallRng::seed_from_u64(bench.seed ^ parity);
        for round in (parity..ROUNDS).step_by(2) {
            let now = turn.lock().expect("no task panics");
            drop(changed.wait_while(now, |now| *now != round).expect("no task panics"));
            let (start, pause) = (Instant::now(), Duration::from_micros(random.random_range(0..LONGEST_US)));
            while start.elapsed() < pause {
                std::hint::spin_loop();
            }
            *turn.lock().expect("no task panics") += 1;
            changed.notify_one();
        }
    };
    thread::scope(|scope| {
        on_core(scope, THERE, || {
            there.give();
            play(1);
        });
        play(0);
    });
    demand(there.count() == 1, || "no task ran on the second core".into())?;
    let each = start.elapsed() / ROUNDS as u32;
    Ok(format!("{ROUNDS} wake-ups across cores, {} µs each", each.as_micros()))
}

/// Checks a wait by halt: the other core releases it and interrupts this one.
pub fn halt_ready_elsewhere(bench: &Bench) -> Verdict {
    let before = state(THERE).stats.halt_released_elsewhere.get();
    let late = ready_elsewhere(bench, |stats| &stats.halt, true)?;
    let released = state(THERE).stats.halt_released_elsewhere.get() - before;
    demand(released == 1, || format!("{released} waits by halt were released from the other core, not 1"))?;
    demand(late == 0, || "released, but not interrupted: it halted until its own core's ready event".into())?;
    Ok("released from the other core and interrupted, long before its page was in".into())
}

/// Checks a wait by schedule: the service thread matches the other core's ready event.
pub fn schedule_ready_elsewhere(bench: &Bench) -> Verdict {
    let matched = || apf_service::service_stats().matched.get();
    let before = matched();
    let late = ready_elsewhere(bench, |stats| &stats.schedule, false)?;
    demand(matched() > before, || "the service thread did not match the ready event with its fault".into())?;
    demand(late == 0, || "the wait ended only with its own core's ready event".into())?;
    Ok("matched by the service thread, long before its page was in".into())
}

/// Checks that cores are quiesced at the same time. The write of the register waits for the page-ins of its
/// core. That of the other core takes longer, and a task on this one reads another page as soon as it has
/// its first: the host does not tell of it if this core is quiesced by then.
pub fn quiesce_together(bench: &Bench) -> Verdict {
    let (go, wrong) = (Sign::default(), Sign::default());
    let read = || {
        if !bench.read(bench.page()) {
            wrong.give();
        }
    };
    let before = host::counters();
    let counts = || host::counters().since(&before);
    let begin = |waits| {
        go.give();
        while counts().schedule_waits < waits {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        on_core(scope, HERE, || {
            go.wait_for(1);
            read();
            read();
        });
        on_core(scope, THERE, || {
            go.wait_for(2);
            read();
        });
        bench.evict(Some(LATENCY));
        begin(1);
        thread::sleep(LATENCY / 2);
        begin(2);
        bench.service(Service::quiesce).expect("there is memory for a task on each core");
    });
    let told = counts().not_present;
    bench.service(Service::resume).expect("the host still offers async page faults");
    demand(wrong.count() == 0, || format!("{} pages have wrong data", wrong.count()))?;
    demand(told == 2, || format!("the host told of {told} faults, not 2: one core waited for the other"))?;
    Ok("with a page under way on both, neither waited for the other".into())
}

/// Reads a page on this core, while a task on the other core plays the host. Returns the
/// number of waits that ended only when the page was in.
fn ready_elsewhere(
    bench: &Bench,
    of_kind: fn(&CoreStats) -> &StageHistograms,
    guarded: bool,
) -> Result<u32, String> {
    let stats = &state(HERE).stats;
    let mhz = u64::from(apf_service::tsc_mhz());
    let late = || {
        let limit = LATENCY.as_micros() as u64 / 2 * mhz;
        of_kind(stats)
            .total
            .nonempty()
            .filter(|(cycles, _)| *cycles > limit)
            .map(|(_, count)| count)
            .sum::<u32>()
    };
    demand(this_core() == HERE, || "the first task is not on the first core".into())?;
    let (go, raised) = (Sign::default(), Sign::default());
    let (right, late) = thread::scope(|scope| {
        on_core(scope, THERE, || {
            go.wait_for(1);
            let token = loop {
                if let Some(token) = state(HERE).slots.tokens().next() {
                    break token;
                }
            };
            raise(bench, token);
            raised.give();
        });
        bench.evict(Some(LATENCY));
        let page = bench.page();
        let before = late();
        go.give();
        let guard = guarded.then(NonPreemptible::enter);
        let right = bench.read(page);
        drop(guard);
        raised.wait_for(1);
        (right, late() - before)
    });
    demand(right, || "the page has wrong data".into())?;
    Ok(late)
}
