//! Attacks of a hostile host, which the guest asks for: whatever it does to events and to the area, each
//! wait ends within a bounded time, and every page is right.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use apf_core::abi::ArmError;
use apf_core::per_core::MANY_EMPTY;
use apf_service::{Config, CoreId, NonPreemptible, Off, StartError, Status, this_core};
use apf_vocabulary::Counters;
use apf_vocabulary::attack::Attack;

use super::bench::{Bench, PAGES, Verdict, config, demand};
use super::tasks::{on_core, spawn};
use crate::host;

/// Limit of each wait during an attack.
const LIMIT: Duration = Duration::from_millis(100);
const LATENCY: Duration = Duration::from_millis(10);
/// Tasks of each core that wait by schedule; one more waits by halt.
const TASKS: usize = 4;
const PAGES_EACH: usize = 4;
/// Time in which the guest must feel an attack: the host is not always fast enough to come between KVM
/// and the guest.
const MOST: Duration = Duration::from_secs(90);
/// Bound of all waits of a round: each task waits for one page after the other, and each wait ends after a few
/// limits.
const BOUND: Duration = Duration::from_secs(20);

/// The host's [`Attack::Lose`].
pub fn lose(bench: &Bench) -> Verdict {
    // A page that is in by its retry has no ready event any more.
    under(bench, Attack::Lose, |counts| counts.not_present.saturating_sub(counts.ready))
}

/// The host's [`Attack::Withhold`].
pub fn withhold(bench: &Bench) -> Verdict {
    under(bench, Attack::Withhold, |counts| counts.overdue_halts)
}

/// The host's [`Attack::Reorder`].
pub fn reorder(bench: &Bench) -> Verdict {
    // Some are ordinary, but not as many as there are faults in a round.
    under(bench, Attack::Reorder, |counts| counts.spurious_interrupts.saturating_sub(20))
}

/// The host's [`Attack::Repeat`].
pub fn repeat(bench: &Bench) -> Verdict {
    under(bench, Attack::Repeat, |counts| counts.ready.saturating_sub(counts.not_present))
}

/// The host's [`Attack::Invent`].
pub fn invent(bench: &Bench) -> Verdict {
    under(bench, Attack::Invent, |counts| counts.ready.saturating_sub(counts.not_present))
}

/// The host's [`Attack::Flags`].
pub fn flags(bench: &Bench) -> Verdict {
    under(bench, Attack::Flags, |counts| counts.unknown_reason)
}

/// The host's [`Attack::Hide`].
pub fn hide(bench: &Bench) -> Verdict {
    under(bench, Attack::Hide, |counts| counts.unexplained_retries)
}

/// The host's [`Attack::Empty`].
pub fn empty(bench: &Bench) -> Verdict {
    under(bench, Attack::Empty, |counts| counts.spurious_interrupts)
}

/// The host's [`Attack::Flood`].
pub fn flood(bench: &Bench) -> Verdict {
    // So many that the service reports them.
    under(bench, Attack::Flood, |counts| counts.spurious_interrupts.saturating_sub(MANY_EMPTY))
}

/// The host's [`Attack::Overrun`].
pub fn overrun(bench: &Bench) -> Verdict {
    under(bench, Attack::Overrun, |counts| counts.ready.saturating_sub(counts.not_present))
}

/// A host that offers async page faults, and refuses the register that turns them on: the service stays
/// off with this reason, and the program runs on without it.
pub fn refused(bench: &Bench) -> Verdict {
    let expected = StartError::Arm(ArmError::Refused);
    let started = bench.start(config());
    demand(started == Err(expected), || format!("the start ended with {started:?}"))?;
    let status = apf_service::status();
    demand(status == Status::Off(Off::Failed(expected)), || format!("its status is {status:?}"))?;
    bench.evict(Some(LATENCY));
    let wrong = (0..PAGES_EACH).filter(|_| !bench.read(bench.page())).count();
    demand(wrong == 0, || format!("{wrong} pages have wrong data"))?;
    demand(!apf_service::has_delivered(), || "the host delivered a fault".into())?;
    Ok(expected.to_string())
}

/// Reads pages on each core: in several tasks by schedule, and in one by halt. Returns the number of wrong
/// ones.
fn read_in_tasks(bench: &Bench) -> usize {
    let wrong = AtomicUsize::new(0);
    let read = || {
        let found = (0..PAGES_EACH).filter(|_| !bench.read(bench.page())).count();
        wrong.fetch_add(found, Ordering::Relaxed);
    };
    let read_by_halt = || {
        let _guard = NonPreemptible::enter();
        read();
    };
    thread::scope(|scope| {
        for core in cores() {
            (0..TASKS).for_each(|_| drop(spawn(scope, read)));
            if core != this_core() {
                on_core(scope, core, read_by_halt);
            }
        }
        read_by_halt();
    });
    wrong.into_inner()
}

fn cores() -> impl Iterator<Item = CoreId> {
    apf_service::stats().map(|(core, _)| core)
}

/// Leaves the guest on each core, for which the console is an occasion: the host reads a core's
/// registers, which it needs for an attack, before it enters the guest.
fn leave_on_each_core() {
    thread::scope(|scope| {
        cores().for_each(|core| on_core(scope, core, || println!("core {} is attacked", this_core().0)));
    });
}

/// Reads pages in several tasks under an attack. `effect` is a count of a core that shows it; each core
/// must feel it.
fn under(bench: &Bench, attack: Attack, effect: fn(&Counters) -> u64) -> Verdict {
    bench.restart(Config { watchdog: Some(LIMIT), ..config() })?;
    bench.evict(Some(LATENCY));
    leave_on_each_core();
    let of_cores = || apf_service::stats().map(|(_, core)| Counters::sum([core])).collect::<Vec<_>>();
    let retried = || apf_service::service_stats().overdue.get();
    let before = (host::counters(), of_cores(), retried());
    host::attack(attack);
    let felt = || of_cores().iter().zip(&before.1).all(|(now, before)| effect(&now.since(before)) > 0);
    let (mut wrong, mut took, mut rounds) = (0, Duration::ZERO, 0);
    let began = Instant::now();
    while rounds == 0 || began.elapsed() < MOST && !felt() {
        let start = Instant::now();
        wrong += read_in_tasks(bench);
        took = took.max(start.elapsed());
        rounds += 1;
    }
    host::attack(Attack::None);
    let felt = felt();
    let counts = host::counters().since(&before.0);
    let retried = retried() - before.2;
    host::restore();
    wrong += (0..PAGES).filter(|&page| !bench.read(page)).count();
    bench.restart(config())?;
    demand(wrong == 0, || format!("{wrong} pages have wrong data"))?;
    let pages = cores().count() * (TASKS + 1) * PAGES_EACH;
    demand(took < BOUND, || format!("{pages} pages took {took:?}"))?;
    demand(felt, || "a core has not felt the attack".into())?;
    Ok(format!(
        "round {rounds}: {} ms; {} not present, {} ready, {} empty interrupts, {} + {} waits retried, {} faults unexplained",
        took.as_millis(),
        counts.not_present,
        counts.ready,
        counts.spurious_interrupts,
        retried,
        counts.overdue_halts,
        counts.unexplained_retries
    ))
}
