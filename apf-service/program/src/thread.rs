//! The service thread. It calls the decisions in the archive ([`apf_core::serve`]), counts
//! the reports and passes them to the log.

use core::sync::atomic::{AtomicBool, Ordering};

use apf_core::event::CoreId;
use apf_core::report::{BATCH, Report};

use crate::ask::{self, SERVICE_STATS};
use crate::ffi;
use crate::guard::NonPreemptible;
use crate::log::{self, News};
use crate::restore::Checks;
use crate::stall;
use crate::watch::{self, OBSERVER};

static STOP: AtomicBool = AtomicBool::new(false);

/// Starts the thread on the first core.
pub fn spawn(stack_size: usize) -> Option<ffi::TaskId> {
    STOP.store(false, Ordering::Release);
    ffi::spawn(run, ffi::SERVICE_PRIORITY, stack_size, CoreId(0))
}

/// Makes the thread end once no event is left.
pub fn stop() {
    STOP.store(true, Ordering::Release);
    ffi::wake_service();
}

/// Handles events until it is stopped.
///
/// ```text
///   service thread                   ready interrupt
///   seen = work
///   serve: nothing there
///                                    event → queue
///                                    work += 1; wake
///   sleep unless work != seen  ───►  does not sleep
/// ```
///
/// The thread's own faults wait by halt: it holds a guard while it runs, since
/// others wait for it. For the same reason it allocates nothing: who holds the lock of the
/// program's heap may wait for a page that only this thread can release.
extern "C" fn run(_: usize) {
    let _guard = NonPreemptible::enter();
    let mut reports = [Report::NONE; BATCH];
    let limit = watch::limit();
    let mut watchdog = watch::watchdog(limit);
    let mut checks = Checks::default();
    loop {
        let seen = ffi::work();
        let retries = watchdog.due(ffi::now(), watch::last_idle);
        let count = ffi::serve(retries, &mut reports);
        watchdog.served(retries, &reports[..count], ffi::now());
        for report in &reports[..count] {
            SERVICE_STATS.count(report);
            checks.look(report);
            log::post(News::Decision(*report));
        }
        ask::stats().for_each(|(core, stats)| {
            OBSERVER.look(core, stats);
            stall::look(core, stats);
        });
        checks.run();
        log::announce();
        if count == 0 {
            if STOP.load(Ordering::Acquire) {
                break;
            }
            // A wait alone does not wake this thread, so it cannot know beforehand if there will be a waiter.
            ffi::sleep(seen, limit);
        }
    }
}
