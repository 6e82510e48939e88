//! What passes between cores: wake-ups, and a ready that arrives on another
//! core than its fault.
//!
//! KVM raises a ready on the core that faulted. So a task on the second core
//! plays the host there: it writes the token of a fault of the first core to
//! its own core's area, and raises the interrupt.

use std::arch::asm;
use std::sync::{Condvar, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use apf_service::{CoreId, CoreStats, NonPreemptible, StageHistograms, this_core};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::{Bench, Verdict, demand};
use super::hostile::state;
use super::tasks::{Sign, spawn};

/// The first core, on which the program's first task runs, and another.
const HERE: CoreId = CoreId(0);
const THERE: CoreId = CoreId(1);
/// How long the page stays out: much longer than a wake-up takes.
const LATENCY: Duration = Duration::from_secs(1);

/// Runs `body` in a task on `core`. The kernel deals out tasks to the cores in
/// turn: of one for each core, that on `core` does the work.
fn on_core<'scope>(
    scope: &'scope Scope<'scope, '_>,
    core: CoreId,
    body: impl FnOnce() + Send + Copy + 'scope,
) {
    for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
        spawn(scope, move || {
            if this_core() == core {
                body();
            }
        });
    }
}

/// Two tasks on two cores wake each other in turn, after a random time, so that
/// each core goes idle again and again just when it is woken. If a wake-up can
/// fall between the look at the core's input and its halt, the check hangs.
pub fn wake_ups(bench: &Bench) -> Verdict {
    const ROUNDS: u64 = 3_000;
    /// Longer than a core takes from the end of its task to its halt.
    const LONGEST_US: u64 = 400;
    let (turn, changed, there) = (Mutex::new(0), Condvar::new(), Sign::default());
    let began = Instant::now();
    let play = |parity: u64| {
        let mut random = SmallRng::seed_from_u64(bench.seed ^ parity);
        for round in (parity..ROUNDS).step_by(2) {
            let now = turn.lock().expect("nobody panics");
            drop(changed.wait_while(now, |now| *now != round).expect("nobody panics"));
            let (began, pause) = (Instant::now(), Duration::from_micros(random.random_range(0..LONGEST_US)));
            while began.elapsed() < pause {
                std::hint::spin_loop();
            }
            *turn.lock().expect("nobody panics") += 1;
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
    let each = began.elapsed() / ROUNDS as u32;
    Ok(format!("{ROUNDS} wake-ups across cores, one in {} µs", each.as_micros()))
}

/// Waits by halt: the other core releases it and interrupts this one.
pub fn halt_ready_elsewhere(bench: &Bench) -> Verdict {
    let before = state(THERE).stats.halt_released_elsewhere.get();
    let late = ready_elsewhere(bench, |stats| &stats.halt, true)?;
    let released = state(THERE).stats.halt_released_elsewhere.get() - before;
    demand(released == 1, || format!("{released} halting waits were released from the other core"))?;
    demand(late == 0, || "released, but not interrupted: it halted until its own core's ready".into())?;
    Ok("released from the other core and interrupted, long before its page was there".into())
}

/// Waits by schedule: the service thread matches the ready all the same.
pub fn schedule_ready_elsewhere(bench: &Bench) -> Verdict {
    let matched = || apf_service::service_stats().matched.get();
    let before = matched();
    let late = ready_elsewhere(bench, |stats| &stats.schedule, false)?;
    demand(matched() > before, || "the service thread did not find whose ready it is".into())?;
    demand(late == 0, || "it waited for its own core's ready".into())?;
    Ok("matched by the service thread, long before its page was there".into())
}

/// Reads a page on this core, while a task on the other one plays the host.
/// Tells how many waits ended only about when the page was there.
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
            state(THERE).host.area.host_writes_token(token);
            // SAFETY: the ready interrupt's handler saves what it uses; the
            // end of interrupt that it signals is of none, and does nothing.
            unsafe { asm!("int 0xf3") };
            bench.played.give();
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
    demand(right, || "the page came back wrong".into())?;
    Ok(late)
}
