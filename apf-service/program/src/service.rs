//! Starting, pausing and stopping.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use apf_core::abi::{self, ArmError};
use apf_core::classify::Waits;
use apf_core::event::CoreId;

use crate::error::StartError;
use crate::status::{self, Off, Status};
use crate::watch::LIMIT_US;
use crate::{ffi, log, thread};

/// Shortest [`Config::watchdog`]: a shorter one keeps the service thread from ever sleeping.
const SHORTEST_WATCHDOG: Duration = Duration::from_millis(1);

/// Settings of the service. `Config::default()` suits most programs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Stack in bytes of the service thread, and of the task on which the
    /// `tracing` subscriber runs.
    pub stack_size: usize,
    /// A wait of either kind that has lasted longer than this ends with a new try: the
    /// access faults anew if the page is still out. `None` lets it wait for ever. At least 1 ms.
    pub watchdog: Option<Duration>,
    /// Kinds of wait.
    pub waits: Waits,
    /// The longest recent latency at which [`Waits::Auto`] may halt a task that
    /// is alone on its core. A task that becomes ready meanwhile, by a timer or a
    /// device, is kept waiting for as long at most: then the halting task waits by
    /// schedule. Zero turns it off.
    pub halt_below: Duration,
    /// Number of faults that each core records, until they are taken by [`recorded`](crate::recorded);
    /// none by default. The memory is allocated when the core is armed.
    pub record: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stack_size: 128 * 1024,
            watchdog: Some(Duration::from_secs(10)),
            waits: Waits::Auto,
            halt_below: Duration::from_millis(10),
            record: 0,
        }
    }
}

/// The running service. Dropping it leaves the service on for the rest of the
/// program; [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct Service {
    thread: ffi::TaskId,
    logger: ffi::TaskId,
}

/// Starts the service thread and arms every core.
///
/// ```
/// use apf_service::{Config, Off, Status};
///
/// let config = Config { stack_size: 64 * 1024, ..Config::default() };
/// if let Err(reason) = apf_service::start(config) {
///     // As here, off Hermit: the program runs on, and its faults stop the core.
///     assert_eq!(apf_service::status(), Status::Off(Off::Failed(reason)));
/// }
/// ```
///
/// # Errors
/// Says what is missing ([`StartError`]); nothing is left half on.
pub fn start(config: Config) -> Result<Service, StartError> {
    if !status::begin() {
        return Err(StartError::AlreadyRunning);
    }
    let started = start_first(&config);
    status::set(match &started {
        Ok(_) => Status::Running { cores: ffi::cores() },
        Err(error) => Status::Off(Off::Failed(*error)),
    });
    started
}

fn start_first(config: &Config) -> Result<Service, StartError> {
    check(config)?;
    if !cfg!(target_os = "hermit") {
        return Err(StartError::Arm(ArmError::NotKvm));
    }
    same_version(ffi::version())?;
    WAITS.store(config.waits as u32, Ordering::Release);
    RECORD.store(config.record, Ordering::Release);
    HALT_BELOW_US.store(micros(config.halt_below), Ordering::Release);
    LIMIT_US.store(config.watchdog.map_or(u64::MAX, micros), Ordering::Release);
    let no_task = StartError::no_task(config.stack_size);
    let logger = log::spawn(config.stack_size).ok_or(no_task)?;
    let Some(thread) = thread::spawn(config.stack_size) else {
        log::stop();
        ffi::join(logger);
        return Err(no_task);
    };
    let service = Service { thread, logger };
    match arm_every_core() {
        Ok(()) => {
            log::prepare_faults();
            Ok(service)
        }
        Err(error) => {
            service.end();
            Err(error)
        }
    }
}

/// Refuses settings with which the service could not work.
fn check(config: &Config) -> Result<(), StartError> {
    let limit = config.watchdog.filter(|&limit| limit < SHORTEST_WATCHDOG);
    limit.map_or(Ok(()), |limit| Err(StartError::WatchdogTooShort { micros: limit.as_micros() as u16 }))
}

/// Compares the version of the archive with this program's.
fn same_version(archive: u32) -> Result<(), StartError> {
    let program = abi::VERSION;
    if archive == program { Ok(()) } else { Err(StartError::VersionMismatch { archive, program }) }
}

impl Service {
    /// Disarms every core and releases all waiters, before a snapshot of the guest: the
    /// host then has no outstanding fault whose ready event a restored guest would miss,
    /// and delivers none to it. Until [`resume`](Self::resume) a fault stops its core. The
    /// service thread stays; a service that is quiesced already stays so.
    ///
    /// On each core, one MSR write with interrupts off lasts until the host has finished the page-ins that it
    /// had begun for the faults of that core, at most 64 of them (`kvm_clear_async_pf_completion_queue` waits
    /// for its workers): about as long as its slowest page takes. A core that has nothing outstanding does
    /// not wait. The cores do this at the same time, as far as there is memory for a task on each, so that
    /// all of it lasts about as long as the slowest page of any core.
    ///
    /// ```text
    ///   quiesce()  ──►  snapshot … restore, here or elsewhere  ──►  resume()
    /// ```
    ///
    /// ```no_run
    /// # fn wait_for_the_restore() {}
    /// let service = apf_service::start(apf_service::Config::default())?;
    /// service.quiesce()?;
    /// wait_for_the_restore();
    /// service.resume()?;
    /// # Ok::<(), apf_service::StartError>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError::NoTask`] if memory was short for the task that disarms a core; the
    /// others are disarmed.
    pub fn quiesce(&self) -> Result<(), StartError> {
        match disarm_every_core() {
            // It was off already.
            Ok(()) | Err(StartError::Arm(ArmError::NotArmed)) => {
                status::set(Status::Quiesced);
                Ok(())
            }
            error => error,
        }
    }

    /// Arms every core again after [`quiesce`](Self::quiesce). Each starts a
    /// new generation, in which no token from before matches. The self-check is
    /// repeated: a restored guest may find itself on another host.
    ///
    /// # Errors
    /// Says what is missing; the service is then quiesced as before.
    pub fn resume(&self) -> Result<(), StartError> {
        match arm_every_core() {
            Ok(()) | Err(StartError::Arm(ArmError::AlreadyArmed)) => {
                status::set(Status::Running { cores: ffi::cores() });
                Ok(())
            }
            error => {
                let _ = self.quiesce();
                error
            }
        }
    }

    /// Disarms every core, releases all waiters, and ends the service thread. Disarming takes as long as
    /// in [`quiesce`](Self::quiesce). After this the service can be started again.
    pub fn stop(self) {
        self.end();
        status::set(Status::Off(Off::Stopped));
    }

    fn end(&self) {
        // Cores that were never armed report that, which does not matter here.
        let _ = disarm_every_core();
        thread::stop();
        ffi::join(self.thread);
        // Last, so that everything is reported.
        log::stop();
        ffi::join(self.logger);
    }
}

/// [`Config::waits`] of the running service, for the tasks that arm.
static WAITS: AtomicU32 = AtomicU32::new(0);
/// [`Config::halt_below`], likewise.
static HALT_BELOW_US: AtomicU64 = AtomicU64::new(0);
/// [`Config::record`], likewise.
static RECORD: AtomicUsize = AtomicUsize::new(0);

/// The last failure of [`on_every_core`]'s tasks.
static FAILURE: AtomicI32 = AtomicI32::new(0);

/// Arms every core, one after the other: the first one installs what all use.
fn arm_every_core() -> Result<(), StartError> {
    /// A core's state is built on the stack before it moves to the heap.
    const STACK: usize = 256 * 1024;
    on_every_core(arm_this_core, STACK, 1)
}

/// Disarms every core, as many at once as there are: each may wait for its page-ins.
fn disarm_every_core() -> Result<(), StartError> {
    const STACK: usize = 64 * 1024;
    on_every_core(disarm_this_core, STACK, usize::MAX)
}

/// Calls `visit` on every core, in a task there, since only a core can arm itself; on up to `at_once`
/// cores at once, fewer if there is no memory. A failure on one core does not keep the others from being
/// visited.
fn on_every_core(visit: extern "C" fn(usize), stack: usize, at_once: usize) -> Result<(), StartError> {
    let (mut missed, mut tasks) = (false, VecDeque::new());
    FAILURE.store(0, Ordering::Release);
    // This core last: while it is visited, no task of it starts another.
    let here = ffi::core();
    let others = (0..ffi::cores()).map(CoreId).filter(|&core| core != here);
    for core in others.chain([here]) {
        let spawn = || ffi::spawn(visit, ffi::SERVICE_PRIORITY, stack, core);
        let task = spawn().or_else(|| {
            tasks.drain(..).for_each(ffi::join);
            spawn()
        });
        tasks.extend(task);
        missed |= task.is_none();
        while tasks.len() >= at_once {
            tasks.pop_front().into_iter().for_each(ffi::join);
        }
    }
    tasks.into_iter().for_each(ffi::join);
    if missed {
        return Err(StartError::no_task(stack));
    }
    Ok(ArmError::decode(FAILURE.load(Ordering::Acquire))?)
}

extern "C" fn arm_this_core(_: usize) {
    let waits = Waits::decode(WAITS.load(Ordering::Acquire));
    let [halt_below, overdue] = [&HALT_BELOW_US, &LIMIT_US].map(|micros| micros.load(Ordering::Acquire));
    note(ffi::arm(waits, halt_below, overdue, RECORD.load(Ordering::Acquire)));
}

/// Returns `duration` in microseconds; of one that is too long, [`u64::MAX`].
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
    use crate::ask::{service_stats, stats};
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn off_hermit_the_service_stays_off_and_says_why() {
        assert_eq!(start(Config::default()).unwrap_err(), StartError::Arm(ArmError::NotKvm));
        // The failure leaves nothing behind that a second attempt would meet.
        assert_eq!(start(Config::default()).unwrap_err(), StartError::Arm(ArmError::NotKvm));
        assert_eq!(status::status(), Status::Off(Off::Failed(StartError::Arm(ArmError::NotKvm))));
        assert_eq!((stats().count(), service_stats().matched.get()), (0, 0));
    }

    #[test]
    fn a_watchdog_that_never_rests_is_refused_and_named() {
        let with = |watchdog| check(&Config { watchdog, ..Config::default() });
        for good in [None, Some(Duration::MAX), Some(SHORTEST_WATCHDOG)] {
            assert_eq!(with(good), Ok(()));
        }
        for (bad, micros) in [(Duration::ZERO, 0), (Duration::from_micros(999), 999)] {
            let error = with(Some(bad)).unwrap_err();
            assert_eq!(error, StartError::WatchdogTooShort { micros });
            assert!(error.to_string().contains(&format!("{micros} µs")), "{error}");
        }
    }

    #[test]
    fn an_archive_of_another_version_is_an_error_that_names_both() {
        assert_eq!(same_version(abi::VERSION), Ok(()));
        let message = same_version(4711).unwrap_err().to_string();
        assert!(message.contains("4711") && message.contains(&format!("version {}", abi::VERSION)));
        assert!(message.contains("rebuild"), "{message}");
    }
}
