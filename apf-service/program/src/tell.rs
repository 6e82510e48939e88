//! Saying what the service does, in a task of its own.
//!
//! A `tracing` subscriber is the program's code: it may wait for a lock of the
//! program, standard output's for instance, whose holder may wait for a page
//! that only the service thread can release. So the service thread never calls
//! a subscriber. It leaves its news in a bounded queue, and an ordinary task,
//! which may wait like any other, tells them. News that do not fit are counted
//! ([`ServiceStats::untold`](apf_core::stats::ServiceStats)), not waited for.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;
use tracing::level_filters::LevelFilter;

use crate::ask::SERVICE_STATS;
use crate::ffi;
use apf_core::event::{CoreId, Event};
use apf_core::protocol::{OUTSTANDING_PER_VCPU, Token};
use apf_core::table::{Outcome, Outstanding};

/// The kernel's normal priority.
const PRIORITY: u8 = 2;
/// News that wait to be told.
const QUEUE: usize = 512;

/// Something to be told.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// What an event came to, and how many faults were outstanding then.
    Outcome(Event, Outcome, usize),
    /// A wait was retried because its ready is overdue.
    Overdue { core: CoreId, token: Token, fault: Outstanding, waited_us: u64 },
    /// A core comes near the host's limit.
    Budget { core: CoreId, most_outstanding: u64 },
}

static NEWS: AtomicPtr<ArrayQueue<News>> = AtomicPtr::new(core::ptr::null_mut());
static WORK: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn news() -> Option<&'static ArrayQueue<News>> {
    // SAFETY: null, or leaked by `spawn` and never freed.
    unsafe { NEWS.load(Ordering::Acquire).as_ref() }
}

/// Starts the telling task on the first core.
pub fn spawn(stack_size: usize) -> Option<ffi::TaskId> {
    if news().is_none() {
        NEWS.store(Box::leak(Box::new(ArrayQueue::new(QUEUE))), Ordering::Release);
    }
    STOP.store(false, Ordering::Release);
    ffi::spawn(run, PRIORITY, stack_size, CoreId(0))
}

/// Makes the task end once everything is told.
pub fn stop() {
    STOP.store(true, Ordering::Release);
    announce();
}

/// Whether somebody listens for each fault as it begins and ends. Of a wait that
/// its ready interrupt ends there would be nothing to tell.
pub fn tells_each_fault() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// Leaves news that somebody listens for.
pub fn say(item: News) {
    if item.level() <= LevelFilter::current() && news().is_none_or(|queue| queue.push(item).is_err()) {
        SERVICE_STATS.untold.count();
    }
}

/// Wakes the telling task if there are news.
pub fn announce() {
    if STOP.load(Ordering::Acquire) || news().is_some_and(|queue| !queue.is_empty()) {
        WORK.fetch_add(1, Ordering::Release);
        ffi::futex_wake(&WORK);
    }
}

extern "C" fn run(_: usize) {
    loop {
        let seen = WORK.load(Ordering::Acquire);
        while let Some(item) = news().and_then(ArrayQueue::pop) {
            item.tell();
        }
        if STOP.load(Ordering::Acquire) {
            break;
        }
        ffi::futex_wait(&WORK, seen);
    }
}

impl News {
    fn level(&self) -> LevelFilter {
        match self {
            Self::Outcome(_, Outcome::Parked, _) => LevelFilter::TRACE,
            Self::Outcome(_, Outcome::ReleasedAll(_), _) => LevelFilter::INFO,
            Self::Outcome(_, Outcome::Displaced(_) | Outcome::NoRoom, _) => LevelFilter::WARN,
            Self::Outcome(..) => LevelFilter::DEBUG,
            Self::Overdue { .. } | Self::Budget { .. } => LevelFilter::WARN,
        }
    }

    fn tell(&self) {
        match *self {
            Self::Outcome(event, outcome, outstanding) => tell_outcome(&event, outcome, outstanding),
            Self::Overdue { core, token, fault, waited_us } => {
                tracing::warn!(
                    core = core.0,
                    token = token.0,
                    rip = fault.rip,
                    waited_us,
                    "overdue, retried"
                );
            }
            Self::Budget { core, most_outstanding } => {
                tracing::warn!(
                    core = core.0,
                    most_outstanding,
                    limit = OUTSTANDING_PER_VCPU,
                    "near the host's limit of outstanding faults: beyond it a fault stops the core"
                );
            }
        }
    }
}

/// One `tracing` event for each event of the cores' queues.
fn tell_outcome(event: &Event, outcome: Outcome, outstanding: usize) {
    let (core, token) = (event.core.0, event.token.0);
    match outcome {
        Outcome::Parked => {
            tracing::trace!(core, token, rip = event.rip, outstanding, "waiting");
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
