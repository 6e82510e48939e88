//! Reporting by `tracing`, in a task of its own.
//!
//! A `tracing` subscriber is the program's code: it may wait for a lock of the
//! program, standard output's for instance, whose holder may wait for a page
//! that only the service thread can release. So the service thread never calls
//! a subscriber. It leaves its news in a bounded queue, and an ordinary task,
//! which may wait like any other, reports them; finished faults it takes from the kernel's
//! ring. News that do not fit are counted
//! ([`ServiceStats::unreported`](apf_core::report::ServiceStats)), not waited for.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use core::time::Duration;

use crossbeam_queue::ArrayQueue;
use tracing::level_filters::LevelFilter;

use apf_core::abi::ArmError;
use apf_core::classify::WAIT_ROOM;
use apf_core::event::CoreId;
use apf_core::protocol::OUTSTANDING_PER_VCPU;
use apf_core::record::Fault;
use apf_core::report::Report;

use crate::ask::SERVICE_STATS;
use crate::ffi;

/// The kernel's normal priority.
const PRIORITY: u8 = 2;
/// News that wait to be reported.
const QUEUE: usize = 512;
/// Finished faults of a core that wait to be reported.
const FAULTS: usize = 512;
/// Finished faults wake no task, or the log would change what it reports: while they are
/// wanted, the task looks for them this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Something to be reported.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// The service thread has decided something.
    Decision(Report),
    /// The host sent a wake-all to a core; both counts since the program started.
    WakeAll { core: CoreId, count: u64, waiters: u64 },
    /// The program was restored, for the `count`th time since it started.
    Restored { count: u32 },
    /// A core was disarmed after a restore.
    Lost { reason: ArmError },
    /// Waits by halt were retried; the count since the program started.
    OverdueHalt { core: CoreId, count: u64 },
    /// The host did not explain faults; the count since the program started.
    Unexplained { core: CoreId, count: u64 },
    /// Stacks had no room for a wait; the count since the program started.
    NoRoom { core: CoreId, count: u64 },
    /// The host raises many interrupts without a token; the count since the program started.
    ManyEmpty { core: CoreId, count: u64 },
    /// A core comes near the host's limit.
    NearLimit { core: CoreId, most_outstanding: u64 },
}

static NEWS: AtomicPtr<ArrayQueue<News>> = AtomicPtr::new(core::ptr::null_mut());
static WORK: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn news() -> Option<&'static ArrayQueue<News>> {
    // SAFETY: null, or leaked by `spawn` and never freed.
    unsafe { NEWS.load(Ordering::Acquire).as_ref() }
}

/// Starts the task on the first core.
pub fn spawn(stack_size: usize) -> Option<ffi::TaskId> {
    if news().is_none() {
        NEWS.store(Box::leak(Box::new(ArrayQueue::new(QUEUE))), Ordering::Release);
    }
    STOP.store(false, Ordering::Release);
    ffi::spawn(run, PRIORITY, stack_size, CoreId(0))
}

/// Makes the task end once everything is reported.
pub fn stop() {
    STOP.store(true, Ordering::Release);
    announce();
}

/// Makes the archive keep finished faults, if the program's subscriber listens for them. It may start to
/// do so at any time: that is noticed when the task next has something to report.
pub fn prepare_faults() -> bool {
    let wanted = LevelFilter::current() >= LevelFilter::DEBUG;
    ffi::log(if wanted { FAULTS } else { 0 });
    wanted
}

/// Queues news if the subscriber listens for them.
pub fn post(item: News) {
    if item.level() <= LevelFilter::current() && news().is_none_or(|queue| queue.push(item).is_err()) {
        SERVICE_STATS.unreported.count();
    }
}

/// Wakes the task if there are news.
pub fn announce() {
    if STOP.load(Ordering::Acquire) || news().is_some_and(|queue| !queue.is_empty()) {
        WORK.fetch_add(1, Ordering::Release);
        ffi::futex_wake(&WORK);
    }
}

extern "C" fn run(_: usize) {
    loop {
        let seen = WORK.load(Ordering::Acquire);
        let stop = STOP.load(Ordering::Acquire);
        while let Some(item) = news().and_then(ArrayQueue::pop) {
            item.report();
        }
        let wants_faults = prepare_faults();
        for core in (0..ffi::cores()).map(CoreId) {
            core::iter::from_fn(|| ffi::logged(core)).take(FAULTS).for_each(|fault| report_fault(&fault));
        }
        if stop {
            break;
        }
        ffi::futex_wait(&WORK, seen, wants_faults.then_some(LOOK_EVERY));
    }
}

impl News {
    const fn level(&self) -> LevelFilter {
        match self {
            Self::Decision(Report::Matched { .. } | Report::Unmatched { .. } | Report::Late { .. }) => {
                LevelFilter::DEBUG
            }
            Self::WakeAll { .. } | Self::Restored { .. } => LevelFilter::INFO,
            Self::Decision(Report::Overflow { .. } | Report::Overdue { .. })
            | Self::OverdueHalt { .. }
            | Self::Lost { .. }
            | Self::Unexplained { .. }
            | Self::NoRoom { .. }
            | Self::ManyEmpty { .. }
            | Self::NearLimit { .. } => LevelFilter::WARN,
        }
    }

    fn report(&self) {
        match *self {
            Self::Decision(report) => report_decision(report),
            Self::WakeAll { core, count, waiters } => {
                tracing::info!(core = core.0, count, waiters, "wake all")
            }
            Self::Restored { count } => {
                tracing::info!(count, "restored: the host works on no fault from before, and is armed anew");
            }
            Self::Lost { reason } => {
                tracing::warn!(%reason, "restored on a host without async page faults: faults stop the core");
            }
            Self::OverdueHalt { core, count } => {
                tracing::warn!(
                    core = core.0,
                    count,
                    "overdue, retried; the core halted until then: the host is slow, or has lost a ready event"
                );
            }
            Self::Unexplained { core, count } => {
                tracing::warn!(
                    core = core.0,
                    count,
                    "page faults without a valid reason, retried: the host damages its messages, or the program \
                     touches low addresses"
                );
            }
            Self::NoRoom { core, count } => {
                tracing::warn!(
                    core = core.0,
                    count,
                    needed = WAIT_ROOM,
                    "a stack had no room for a wait, so the core stopped for its page: give the task a larger stack"
                );
            }
            Self::ManyEmpty { core, count } => {
                tracing::warn!(
                    core = core.0,
                    count,
                    "the host raises many ready interrupts without an event: they take the guest's time"
                );
            }
            Self::NearLimit { core, most_outstanding } => {
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

fn report_decision(report: Report) {
    match report {
        Report::Matched { core, came_on, token, rip } => {
            let (core, came_on, token) = (core.0, came_on.0, token.0);
            tracing::debug!(core, came_on, token, rip, "ready on another core than its fault");
        }
        Report::Unmatched { came_on, token } => {
            tracing::debug!(core = came_on.0, token = token.0, "ready before its fault");
        }
        Report::Overflow { waiters } => {
            tracing::warn!(
                waiters,
                "a ready event was lost to a full queue: all waiters by schedule were released to retry"
            );
        }
        Report::Late { core } => {
            tracing::debug!(core = core.0, "overdue; not retried while another task can run on this core");
        }
        Report::Overdue { core, token, rip, waited } => {
            let waited_us = waited / u64::from(ffi::tsc_mhz()).max(1);
            tracing::warn!(
                core = core.0,
                token = token.0,
                rip,
                waited_us,
                "overdue, retried; a page that is still under way now stops the core"
            );
        }
    }
}

/// Emits one `tracing` event for a finished fault, with its stages in cycles.
fn report_fault(fault: &Fault) {
    tracing::debug!(
        core = fault.core.0,
        token = fault.token.0,
        rip = fault.rip,
        wait = if fault.halt { "halt" } else { "schedule" },
        parked_cycles = fault.parked.since(fault.fault),
        host_cycles = fault.ready.since(fault.fault),
        total_cycles = fault.running.since(fault.fault),
        "page fault served"
    );
}
