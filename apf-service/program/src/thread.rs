//! The service thread.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use apf_core::abi::BATCH;
use apf_core::event::{CoreId, Event, Generation, Kind};
use apf_core::protocol::Token;
use apf_core::slots::Ticket;
use apf_core::table::{Outcome, Table};
use apf_core::time::Tsc;

use crate::ask::{self, SERVICE_STATS};
use crate::ffi;
use crate::guard::NonPreemptible;
use crate::tell::{self, News};
use crate::watch::{Budget, Watchdog};

/// Above every application task, so that a ready page costs one switch.
pub const PRIORITY: u8 = 30;

static STOP: AtomicBool = AtomicBool::new(false);

/// The watchdog's limit in microseconds; [`u64::MAX`] is never.
static WATCHDOG_US: AtomicU64 = AtomicU64::new(u64::MAX);

/// Starts the thread on the first core.
pub fn spawn(stack_size: usize, watchdog: Option<Duration>) -> Option<ffi::TaskId> {
    let micros = |limit: Duration| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    WATCHDOG_US.store(watchdog.map_or(u64::MAX, micros), Ordering::Release);
    STOP.store(false, Ordering::Release);
    ffi::spawn(run, PRIORITY, stack_size, CoreId(0))
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
///                                    work += 1; wake
///   sleep unless work != seen  ───►  does not sleep
/// ```
///
/// The thread's own faults wait by halt: it holds a guard for all its life,
/// since nobody else could release it.
extern "C" fn run(_: usize) {
    let _guard = NonPreemptible::enter();
    let mut table = Table::new(ffi::cores().into());
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
        ffi::allow_hand_off(!tell::tells_each_fault());
        let count = ffi::events(&mut events);
        table.forget_over(ffi::waits);
        // All waiters of a batch are released before anything is told.
        for (done, event) in batch.iter_mut().zip(&events[..count]) {
            *done = (*event, table.apply(event, ffi::release));
        }
        for (event, outcome) in &batch[..count] {
            SERVICE_STATS.count(outcome);
            tell::say(News::Outcome(*event, *outcome, table.outstanding()));
        }
        watchdog.look(&mut table);
        ask::stats().for_each(|(core, stats)| budget.look(core, stats));
        tell::announce();
        if count == 0 {
            if STOP.load(Ordering::Acquire) {
                break;
            }
            ffi::sleep(seen, watchdog.sleep_limit());
        }
    }
}
