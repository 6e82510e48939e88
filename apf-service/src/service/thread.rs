//! The service thread.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::ffi;
use super::guard::NonPreemptible;
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

/// Starts the thread on the first core.
pub fn spawn(stack_size: usize, cores: usize) -> Option<ffi::TaskId> {
    STOP.store(false, Ordering::Release);
    CORES.store(cores, Ordering::Release);
    ffi::spawn(run, PRIORITY, stack_size, CoreId(0))
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
    loop {
        let seen = ffi::work();
        let count = ffi::events(&mut events[..]);
        // All waiters of a batch are released before anything is told.
        for (done, event) in batch.iter_mut().zip(&events[..count]) {
            *done = (*event, table.apply(event, ffi::release));
        }
        batch[..count].iter().for_each(|(event, outcome)| tell(event, *outcome, &table));
        if count == 0 {
            if STOP.load(Ordering::Acquire) {
                break;
            }
            ffi::sleep(seen);
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
        Outcome::ReleasedEarly => tracing::debug!(core, token, "was ready before it waited"),
        Outcome::RememberedReady => tracing::debug!(core, token, "ready before its fault"),
        Outcome::Swallowed => tracing::debug!(core, token, "early ready consumed"),
        Outcome::ReleasedAll(waiters) => tracing::info!(core, waiters, "wake all"),
        Outcome::Stale => tracing::debug!(core, token, "of an earlier life"),
    }
}
