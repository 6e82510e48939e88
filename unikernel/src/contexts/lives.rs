//! Generations: the service quiesced and armed again while tasks wait, as for a snapshot; a
//! restore that the program did not expect; and the watchdog.

use std::arch::asm;
use std::thread;
use std::time::Duration;

use apf_core::protocol::{enable_value, msr};
use apf_service::{Config, StartError, Status, this_core};
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, config, demand};
use super::hostile::state;
use super::tasks::{Sign, spawn};
use crate::host;

const TASKS: u64 = 4;
/// Page-in latency, long enough for all tasks to wait at once.
const LONG: Duration = Duration::from_secs(1);

/// Tasks that each read a fresh page per round.
struct Readers<'a> {
    bench: &'a Bench,
    go: Sign,
    back: Sign,
    wrong: Sign,
}

impl Readers<'_> {
    fn run(&self, rounds: u64) {
        for round in 1..=rounds {
            self.go.wait_for(round);
            if !self.bench.read(self.bench.page()) {
                self.wrong.give();
            }
            self.back.give();
        }
    }

    /// Lets every task read a page, and calls `meanwhile`, if there is one, when all of them
    /// wait by schedule.
    fn round(&self, meanwhile: Option<&dyn Fn()>) -> Counters {
        let before = host::counters();
        let round = self.go.count() + 1;
        self.go.give();
        if let Some(meanwhile) = meanwhile {
            while host::counters().since(&before).schedule_waits < TASKS {
                thread::yield_now();
            }
            meanwhile();
        }
        self.back.wait_for(round * TASKS);
        host::counters().since(&before)
    }
}

fn with_readers<T>(bench: &Bench, rounds: u64, body: impl FnOnce(&Readers) -> T) -> Result<T, String> {
    let readers = Readers { bench, go: Sign::default(), back: Sign::default(), wrong: Sign::default() };
    let result = thread::scope(|scope| {
        for _ in 0..TASKS {
            spawn(scope, || readers.run(rounds));
        }
        body(&readers)
    });
    demand(readers.wrong.count() == 0, || format!("{} pages have wrong data", readers.wrong.count()))?;
    Ok(result)
}

/// Checks `quiesce` while four tasks wait: all are released, fault again, and get their pages
/// as without the service. Then `resume` starts a new generation.
pub fn quiesce(bench: &Bench) -> Verdict {
    let twice = apf_service::start(Config::default()).map(|_| ());
    demand(twice == Err(StartError::AlreadyRunning), || format!("started twice: {twice:?}"))?;
    let (released, quiesced, resumed) = with_readers(bench, 3, |readers| {
        bench.evict(Some(LONG));
        let quiesce = || bench.service(|service| service.quiesce()).expect("a task on every core");
        let released = (readers.round(Some(&quiesce)), apf_service::status());
        bench.evict(None);
        let quiesced = readers.round(None);
        let before = host::counters();
        bench.service(|service| service.resume()).expect("the host still offers async page faults");
        let counts = readers.round(None);
        (released, quiesced, (counts, host::counters().since(&before).wake_all, apf_service::status()))
    })?;
    let (counts, status) = released;
    demand(status == Status::Quiesced, || format!("quiesced, but its status is {status:?}"))?;
    demand(counts.schedule_waits == TASKS && counts.ready == 0, || {
        format!("of {} waits, {} were ended by a ready event", counts.schedule_waits, counts.ready)
    })?;
    demand(quiesced.not_present == 0, || format!("{} faults while quiesced", quiesced.not_present))?;
    let (counts, wake_all, status) = resumed;
    demand(matches!(status, Status::Running { .. }), || format!("resumed, but its status is {status:?}"))?;
    demand(wake_all > 0, || "resuming caused no wake-all event".into())?;
    demand(counts.schedule_waits == TASKS && counts.ready == TASKS, || {
        format!("resumed: {} schedule waits and {} ready events", counts.schedule_waits, counts.ready)
    })?;
    Ok(format!("{TASKS} waiters released and served by the host alone; {TASKS} more in the next generation"))
}

/// Checks the watchdog: a page-in takes ten times its limit, so each waiter is resumed before
/// its ready event, and faults again. The late ready event has no effect.
pub fn watchdog(bench: &Bench) -> Verdict {
    let overdue = || apf_service::service_stats().overdue.get();
    bench.restart(Config { watchdog: Some(LONG / 10), ..config() })?;
    let before = overdue();
    let counts = with_readers(bench, 2, |readers| {
        bench.evict(Some(LONG));
        readers.round(Some(&|| ()));
        bench.evict(None);
        readers.round(None)
    })?;
    let retried = overdue() - before;
    bench.restart(config())?;
    demand(retried > 0, || "no task was resumed before its page was in".into())?;
    demand(counts.schedule_waits == TASKS, || {
        format!("{} schedule waits instead of {TASKS} afterwards", counts.schedule_waits)
    })?;
    Ok(format!("{retried} waits resumed early, and {TASKS} ordinary waits afterwards"))
}

/// Writes to one of the host's registers, as a VMM does that restores the guest.
fn write(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the service reads these registers back when it has a reason to, and repairs them.
    unsafe { asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high) };
}

/// Lets four tasks wait, and then `lose` the state of the host's side. All get their pages, the
/// service notices one restore, and the next waits are ordinary ones.
fn lost_state(bench: &Bench, watchdog: Duration, lose: impl Fn()) -> Verdict {
    bench.restart(Config { watchdog: Some(watchdog), ..config() })?;
    let (restores, before) = (apf_service::restores(), host::counters());
    let (counts, status) = with_readers(bench, 2, |readers| {
        bench.evict(Some(LONG / 2));
        readers.round(Some(&lose));
        bench.evict(None);
        (readers.round(None), apf_service::status())
    })?;
    let (noticed, counted) = (apf_service::restores() - restores, host::counters().since(&before).restored);
    bench.restart(config())?;
    demand((noticed, counted) == (1, 1), || {
        format!("the program was told of {noticed} restores, and the core counted {counted}")
    })?;
    demand(matches!(status, Status::Running { .. }), || format!("its status is {status:?}"))?;
    demand(counts.schedule_waits == TASKS && counts.ready == TASKS, || {
        format!("afterwards {} schedule waits and {} ready events", counts.schedule_waits, counts.ready)
    })?;
    Ok(format!("noticed; {TASKS} waiters got their pages, and {TASKS} more in the next generation"))
}

/// Checks a restore by a VMM that restores all registers: the host works on no fault of before,
/// and sends a wake-all that the program did not cause.
pub fn restored(bench: &Bench) -> Verdict {
    let area = enabled_area();
    lost_state(bench, LONG * 10, || {
        [0, enable_value(area)].into_iter().for_each(|value| write(msr::ASYNC_PF_EN, value))
    })
}

/// Checks a restore by a VMM that does not restore the enable register: nothing arrives.
pub fn lost_enable(bench: &Bench) -> Verdict {
    lost_state(bench, LONG / 10, || write(msr::ASYNC_PF_EN, 0))
}

/// Checks a restore by a VMM that does not restore the vector: ready events cause no interrupt.
pub fn lost_vector(bench: &Bench) -> Verdict {
    lost_state(bench, LONG / 10, || write(msr::ASYNC_PF_INT, 0))
}

/// Returns the guest-physical address of this core's area.
fn enabled_area() -> u64 {
    apf_service::physical_address(&raw const state(this_core()).host.area).expect("it is mapped")
}
