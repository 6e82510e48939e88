//! State of the service, and the reason if it is off.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI64, Ordering};

use crate::error::StartError;
use apf_core::abi::{ArmError, VERSION};

/// State of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Off: the host stops the core at a fault, as without the service.
    Off(Off),
    /// [`start`](crate::start) or [`stop`](crate::Service::stop) is under way.
    Changing,
    /// Armed. Whether the host delivers is known only after a fault: [`has_delivered`](crate::has_delivered).
    Running {
        /// On this many cores.
        cores: u16,
    },
    /// Disarmed for a snapshot ([`quiesce`](crate::Service::quiesce)).
    Quiesced,
    /// The program was restored on a host that does not offer what the service needs. It stops a
    /// core at a fault, on some cores or on all. [`resume`](crate::Service::resume) tries again.
    Lost(ArmError),
}

/// Reason why the service is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// It was not started.
    NotStarted,
    /// It was stopped.
    Stopped,
    /// It could not be started.
    Failed(StartError),
}

/// The status as one number, so that it changes in one step:
///
/// | number | status |
/// |---|---|
/// | 0 | not started |
/// | 1 … 65,536 | running on one core fewer |
/// | -1, -2, -3 | stopped, changing, quiesced |
/// | -100 - n | failed: `ArmError` n |
/// | -500 - n | lost: `ArmError` n |
/// | -1,000 - n | failed: a watchdog of n µs |
/// | -2^32 - n | failed: the archive is of version n |
/// | -2^33 - n | failed: no task with a stack of n KiB |
static STATUS: AtomicI64 = AtomicI64::new(0);

const STOPPED: i64 = -1;
const CHANGING: i64 = -2;
const QUIESCED: i64 = -3;
const FAILED: i64 = -100;
const LOST: i64 = -500;
const SHORT_WATCHDOG: i64 = -1000;
const OTHER_VERSION: i64 = -(1 << 32);
const NO_TASK: i64 = -(1 << 33);

const fn encode(status: Status) -> i64 {
    match status {
        Status::Off(Off::NotStarted) => 0,
        Status::Off(Off::Stopped) => STOPPED,
        Status::Changing | Status::Off(Off::Failed(StartError::AlreadyRunning)) => CHANGING,
        Status::Quiesced => QUIESCED,
        Status::Lost(error) => LOST - ArmError::encode(Err(error)) as i64,
        Status::Running { cores } => cores as i64 + 1,
        Status::Off(Off::Failed(StartError::NoTask { kib })) => NO_TASK - kib as i64,
        Status::Off(Off::Failed(StartError::WatchdogTooShort { micros })) => SHORT_WATCHDOG - micros as i64,
        Status::Off(Off::Failed(StartError::Arm(error))) => FAILED - ArmError::encode(Err(error)) as i64,
        Status::Off(Off::Failed(StartError::VersionMismatch { archive, .. })) => {
            OTHER_VERSION - archive as i64
        }
    }
}

fn decode(number: i64) -> Status {
    match number {
        1.. => Status::Running { cores: (number - 1) as u16 },
        0 => Status::Off(Off::NotStarted),
        STOPPED => Status::Off(Off::Stopped),
        CHANGING => Status::Changing,
        QUIESCED => Status::Quiesced,
        _ if number <= NO_TASK => {
            Status::Off(Off::Failed(StartError::NoTask { kib: (NO_TASK - number) as u64 }))
        }
        _ if number <= OTHER_VERSION => Status::Off(Off::Failed(StartError::VersionMismatch {
            archive: (OTHER_VERSION - number) as u32,
            program: VERSION,
        })),
        _ if number <= SHORT_WATCHDOG => {
            let micros = (SHORT_WATCHDOG - number) as u16;
            Status::Off(Off::Failed(StartError::WatchdogTooShort { micros }))
        }
        _ if number <= LOST => Status::Lost(arm_error(LOST - number)),
        failed => Status::Off(Off::Failed(StartError::Arm(arm_error(FAILED - failed)))),
    }
}

fn arm_error(number: i64) -> ArmError {
    ArmError::decode(number as i32).err().unwrap_or(ArmError::BadArea)
}

/// Returns the state of the service, and the reason if it is off.
#[must_use]
pub fn status() -> Status {
    decode(STATUS.load(Ordering::Acquire))
}

/// Sets the status.
pub fn set(status: Status) {
    STATUS.store(encode(status), Ordering::Release);
}

/// Notes that a core is off for `reason`, unless the service is quiesced or ends.
pub fn lose(reason: ArmError) {
    let running =
        |number| matches!(decode(number), Status::Running { .. }).then_some(encode(Status::Lost(reason)));
    let _ = STATUS.fetch_update(Ordering::AcqRel, Ordering::Acquire, running);
}

/// Leaves an off state, for one caller only.
pub fn begin() -> bool {
    let off = |number| matches!(decode(number), Status::Off(_)).then_some(CHANGING);
    STATUS.fetch_update(Ordering::AcqRel, Ordering::Acquire, off).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_being_a_number() {
        let of_version = |archive| StartError::VersionMismatch { archive, program: VERSION };
        let arm = [ArmError::NotKvm, ArmError::BadArea].map(StartError::Arm);
        let too_short = |micros| StartError::WatchdogTooShort { micros };
        let no_tasks = [0, usize::MAX].map(StartError::no_task);
        let versions = [0, u32::MAX].map(of_version);
        let failures = [no_tasks, arm, versions, [0, 999].map(too_short)].into_iter().flatten();
        let off = [Off::NotStarted, Off::Stopped].into_iter().chain(failures.map(Off::Failed));
        let others = [
            Status::Changing,
            Status::Quiesced,
            Status::Lost(ArmError::NotKvm),
            Status::Lost(ArmError::Forgotten),
            Status::Running { cores: 0 },
            Status::Running { cores: u16::MAX },
        ];
        for status in off.map(Status::Off).chain(others) {
            assert_eq!(decode(encode(status)), status);
        }
    }
}
