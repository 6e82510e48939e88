//! The service thread.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use super::guard::NonPreemptible;
use super::watch::{Budget, Watchdog};
use super::{Config, SERVICE_STATS, ffi};
use crate::event::{CoreId, Event, Generation, Kind};
use crate::protocol::Token;
use crate::slots::Ticket;
use crate::table::{Outcome, Table};
use crate::time::Tsc;

/// Above every application task, so that a ready page costs one switch.
pub const PRIORITY: u8 = 30;
/// Events taken from the queues at once.
const BATCH: usize = 64;

static STOP: AtomicBool = AtomicBool::new(false);
static CORES: AtomicUsize = AtomicUsize::new(0);

/// The watchdog's limit in microseconds; [`u64::MAX`] is never.
static WATCHDOG_US: AtomicU64 = AtomicU64::new(u64::MAX);

/// Starts the thread on the first core.
pub fn spawn(config: &Config, cores: usize) -> Option<ffi::TaskId> {
    let micros = |limit: Duration| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    WATCHDOG_US.store(config.watchdog.map_or(u64::MAX, micros), Ordering::Release);
    STOP.store(false, Ordering::Release);
    CORES.store(cores, Ordering::Release);
    ffi::spawn(run, PRIORITY, config.stack_size, CoreId(0))
}

fn watchdog_limit() -> Option<Duration> {
    let micros = WATCHDOG_US.load(Ordering::Acquire);
    (micros != u64::MAX).then(|| Duration::from_micros(micros))
}

/// Makes the thread end once its queues are empty.
pub fn stop() {
    STOP.store(true, Ordering::Release);
    ffi::wake_service();
}

/// Drains the queues until told to stop.
///
/// ```text
///   service thread                   ready interrupt
///   seen = work
///   drain: nothing there
///                                    event → queue
///                                    work += 1; futex_wake(work)
///   sleep unless work != seen  ───►  does not sleep
/// ```
///
/// The thread's own faults wait by halt: it holds a guard for all its life,
/// since nobody else could release it.
extern "C" fn run(_: usize) {
    let _guard = NonPreemptible::enter();
    let mut table = Table::new(CORES.load(Ordering::Acquire));
    let nothing = Event {
        kind: Kind::WakeAll,
        token: Token::NONE,
        ticket: Ticket::NONE,
        core: CoreId(0),
        generation: Generation(0),
        at: Tsc(0),
        rip: 0,
    };
    let mut batch = Box::new([(nothing, Outcome::Stale); BATCH]);
    let mut events = Box::new([nothing; BATCH]);
    let mut watchdog = Watchdog::new(watchdog_limit());
    let mut budget = Budget::new();
    loop {
        let seen = ffi::work();
        let count = ffi::events(&mut events[..]);
        // All waiters of a batch are released before anything is told.
        for (done, event) in batch.iter_mut().zip(&events[..count]) {
            *done = (*event, table.apply(event, ffi::release));
        }
        for (event, outcome) in &batch[..count] {
            SERVICE_STATS.count(outcome);
            tell(event, *outcome, &table);
        }
        watchdog.look(&mut table);
        super::stats().for_each(|(core, stats)| budget.look(core, stats));
        if count == 0 {
            if STOP.load(Ordering::Acquire) {
                break;
            }
            ffi::sleep(seen, watchdog.sleep_limit(&table));
        }
    }
}

/// Says what happened, one `tracing` event for each event of the queue.
fn tell(event: &Event, outcome: Outcome, table: &Table) {
    let (core, token) = (event.core.0, event.token.0);
    match outcome {
        Outcome::Parked => {
            tracing::trace!(core, token, rip = event.rip, outstanding = table.outstanding(), "waiting");
        }
        Outcome::Released(fault) => {
            let host_cycles = event.at.since(fault.since);
            tracing::debug!(core, token, rip = fault.rip, host_cycles, "ready");
        }
        Outcome::Displaced(older) => {
            tracing::warn!(
                core,
                token,
                rip = older.rip,
                "the host uses this token twice; the older wait was retried"
            );
        }
        Outcome::ReleasedEarly => tracing::debug!(core, token, "was ready before it waited"),
        Outcome::NoRoom => tracing::warn!(core, token, "the table is full; the wait was retried"),
        Outcome::RememberedReady { forgot } => {
            tracing::debug!(core, token, forgot = forgot.map(|token| token.0), "ready, and nobody waits");
        }
        Outcome::DuplicateReady => tracing::debug!(core, token, "ready once more, and nobody waits"),
        Outcome::Swallowed | Outcome::Unneeded => tracing::debug!(core, token, "early ready consumed"),
        Outcome::ReleasedAll(waiters) => tracing::info!(core, waiters, "wake all"),
        Outcome::Stale => tracing::debug!(core, token, "of an earlier life"),
    }
}
