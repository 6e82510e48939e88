//! The program's side: starting, stopping and asking.
//!
//! | file | holds |
//! |---|---|
//! | `thread` | the service thread: drain, match, release, tell |
//! | `guard` | `NonPreemptible` |
//! | `ffi` | the calls into the kernel archive |

mod ffi;
pub mod guard;
mod thread;

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::abi::ArmError;
use crate::event::CoreId;
use crate::stats::CoreStats;

/// How the service is to run. `Config::default()` suits most programs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Stack of the service thread in bytes. `tracing` subscribers run on it.
    pub stack_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { stack_size: 128 * 1024 }
    }
}

/// Why the service did not start. The program runs on without it: the host
/// stops the core at a fault, as it always did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It runs already.
    #[error("the async page fault service is running already: there is one for the whole program")]
    AlreadyRunning,
    /// The kernel made no task for it.
    #[error(
        "no task for the async page fault service: give the guest more memory, or the service a smaller stack"
    )]
    NoTask,
    /// A core could not be armed.
    #[error("async page faults stay off: {0}")]
    Arm(#[from] ArmError),
}

/// The running service. Dropping it leaves the service on for the rest of the
/// program; [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct Service {
    task: ffi::TaskId,
}

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Starts the service thread and arms every core.
///
/// # Errors
/// Says what is missing ([`StartError`]); nothing is left half on.
pub fn start(config: Config) -> Result<Service, StartError> {
    if RUNNING.swap(true, Ordering::AcqRel) {
        return Err(StartError::AlreadyRunning);
    }
    start_first(config).inspect_err(|_| RUNNING.store(false, Ordering::Release))
}

fn start_first(config: Config) -> Result<Service, StartError> {
    let task =
        thread::spawn(config.stack_size, usize::from(ffi::cores())).ok_or(if cfg!(target_os = "hermit") {
            StartError::NoTask
        } else {
            StartError::Arm(ArmError::NotKvm)
        })?;
    let service = Service { task };
    match on_every_core(arm_this_core) {
        Ok(()) => Ok(service),
        Err(error) => {
            service.end();
            Err(error)
        }
    }
}

impl Service {
    /// Disarms every core, releases all waiters, and ends the service thread.
    /// After this the service can be started again.
    pub fn stop(self) {
        self.end();
        RUNNING.store(false, Ordering::Release);
    }

    fn end(&self) {
        // Cores that were never armed say so, which is as well.
        let _ = on_every_core(disarm_this_core);
        thread::stop();
        ffi::join(self.task);
    }
}

/// Frequency of the time-stamp counter in MHz, which turns the cycles of
/// [`stats`] into microseconds; 1 off Hermit.
#[must_use]
pub fn tsc_mhz() -> u32 {
    ffi::tsc_mhz()
}

/// What each core has counted since the program began, over all lives of the
/// service. Cores that were never armed are left out.
pub fn stats() -> impl Iterator<Item = (CoreId, &'static CoreStats)> {
    (0..ffi::cores()).map(CoreId).filter_map(|core| Some((core, ffi::core_stats(core)?)))
}

/// The last failure of [`on_every_core`]'s tasks.
static FAILURE: AtomicI32 = AtomicI32::new(0);

/// Arming is a core's own business, so a task visits each.
fn on_every_core(visit: extern "C" fn(usize)) -> Result<(), StartError> {
    /// A core's state is built on the stack before it moves to the heap.
    const STACK: usize = 256 * 1024;
    FAILURE.store(0, Ordering::Release);
    for core in (0..ffi::cores()).map(CoreId) {
        let task = ffi::spawn(visit, thread::PRIORITY, STACK, core).ok_or(StartError::NoTask)?;
        ffi::join(task);
    }
    Ok(ArmError::decode(FAILURE.load(Ordering::Acquire))?)
}

extern "C" fn arm_this_core(_: usize) {
    note(ffi::arm());
}

extern "C" fn disarm_this_core(_: usize) {
    note(ffi::disarm());
}

fn note(result: Result<(), ArmError>) {
    if result.is_err() {
        FAILURE.store(ArmError::encode(result), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_hermit_the_service_stays_off_and_says_why() {
        assert_eq!(start(Config::default()).unwrap_err(), StartError::Arm(ArmError::NotKvm));
        // The failure leaves nothing behind that a second attempt would meet.
        assert_eq!(start(Config::default()).unwrap_err(), StartError::Arm(ArmError::NotKvm));
        assert_eq!(stats().count(), 0);
    }
}
