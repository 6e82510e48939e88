//! What follows a restore from a snapshot or a migration: each core is checked, and the program
//! is told.
//!
//! A host that restores the guest well sends each core a wake-all that the guest did not cause
//! (the counter `restored`). One that has lost the registers sends nothing: then a wait is
//! overdue. After either sign each core compares its registers with what it was armed for
//! (`apf_check`); only a core can do that for itself, in a task.

use core::sync::atomic::{AtomicI32, AtomicU16, AtomicU32, Ordering};

use apf_core::abi::ArmError;
use apf_core::event::CoreId;
use apf_core::report::Report;

use crate::log::{self, News};
use crate::{ask, ffi, status};

/// Stack of a task that checks a core.
const STACK: usize = 32 * 1024;

/// Number of restores that the program was told of.
static RESTORES: AtomicU32 = AtomicU32::new(0);
/// Tasks that check a core and have not ended.
static UNDER_WAY: AtomicU16 = AtomicU16::new(0);
/// Why one of them has disarmed its core; 0 is not.
static FAILURE: AtomicI32 = AtomicI32::new(0);

/// Returns how often the program has been restored from a snapshot or by a migration since it
/// started, as far as the service noticed. A program that was quiesced meanwhile is not counted.
#[must_use]
pub fn restores() -> u32 {
    RESTORES.load(Ordering::Acquire)
}

/// Blocks until the program has been restored more than `seen` times. Returns [`restores`],
/// which may still be `seen`. A program that has to know, since a clone of it needs other
/// random numbers and its connections are gone, calls this in a thread of its own.
///
/// ```no_run
/// # fn reseed() {}
/// std::thread::spawn(|| {
///     let mut seen = apf_service::restores();
///     loop {
///         let restores = apf_service::wait_for_restore(seen);
///         if restores > seen {
///             reseed();
///         }
///         seen = restores;
///     }
/// });
/// ```
pub fn wait_for_restore(seen: u32) -> u32 {
    ffi::futex_wait(&RESTORES, seen, None);
    restores()
}

/// Signs of a restore, and the checks that follow. The service thread's.
#[derive(Debug, Default)]
pub struct Checks {
    wanted: bool,
}

impl Checks {
    /// Looks at a decision: a wait that is overdue may be one whose ready event was lost.
    pub fn look(&mut self, report: &Report) {
        self.wanted |= matches!(report, Report::Overdue { .. } | Report::Late { .. });
    }

    /// Tells the program of a restore, reports a core that is off, and starts checks that are wanted.
    pub fn run(&mut self) {
        // Each core counts the restore; the first one to do so tells.
        let counted = ask::stats().map(|(_, stats)| stats.restored.get() as u32).max().unwrap_or(0);
        if counted > restores() {
            RESTORES.store(counted, Ordering::Release);
            ffi::futex_wake_all(&RESTORES);
            log::post(News::Restored { count: counted });
            self.wanted = true;
        }
        if let Err(reason) = ArmError::decode(FAILURE.swap(0, Ordering::AcqRel)) {
            status::lose(reason);
            log::post(News::Lost { reason });
        }
        if self.wanted && UNDER_WAY.load(Ordering::Acquire) == 0 {
            self.wanted = false;
            check_every_core();
        }
    }
}

/// Starts a check on each core. One that finds no memory for its task is left out: the next sign
/// repeats it.
fn check_every_core() {
    UNDER_WAY.store(ffi::cores(), Ordering::Release);
    for core in (0..ffi::cores()).map(CoreId) {
        if ffi::spawn(check_this_core, ffi::SERVICE_PRIORITY, STACK, core).is_none() {
            UNDER_WAY.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

extern "C" fn check_this_core(_: usize) {
    match ffi::check() {
        Ok(()) | Err(ArmError::NotArmed) => {}
        error => FAILURE.store(ArmError::encode(error), Ordering::Release),
    }
    UNDER_WAY.fetch_sub(1, Ordering::AcqRel);
    // It reports a failure, and starts the checks that were wanted meanwhile.
    ffi::wake_service();
}
