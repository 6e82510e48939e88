//! Whether the service runs, and why not.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, Ordering};

use super::StartError;
use crate::abi::ArmError;

/// What the service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Off: the host stops the core at a fault, as it always did.
    Off(Off),
    /// [`start`](crate::start) or [`stop`](crate::Service::stop) is under way.
    Changing,
    /// Armed.
    Running {
        /// On this many cores.
        cores: u16,
    },
    /// Disarmed for a snapshot ([`quiesce`](crate::Service::quiesce)).
    Quiesced,
}

/// Why the service is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Nobody started it.
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
/// | -100 | failed: no task |
/// | -100 - n | failed: `ArmError` n |
static STATUS: AtomicI32 = AtomicI32::new(0);

const STOPPED: i32 = -1;
const CHANGING: i32 = -2;
const QUIESCED: i32 = -3;
const FAILED: i32 = -100;

const fn encode(status: Status) -> i32 {
    match status {
        Status::Off(Off::NotStarted) => 0,
        Status::Off(Off::Stopped) => STOPPED,
        Status::Changing | Status::Off(Off::Failed(StartError::AlreadyRunning)) => CHANGING,
        Status::Quiesced => QUIESCED,
        Status::Running { cores } => cores as i32 + 1,
        Status::Off(Off::Failed(StartError::NoTask)) => FAILED,
        Status::Off(Off::Failed(StartError::Arm(error))) => FAILED - ArmError::encode(Err(error)),
    }
}

fn decode(number: i32) -> Status {
    match number {
        1.. => Status::Running { cores: (number - 1) as u16 },
        0 => Status::Off(Off::NotStarted),
        STOPPED => Status::Off(Off::Stopped),
        CHANGING => Status::Changing,
        QUIESCED => Status::Quiesced,
        failed => Status::Off(Off::Failed(match ArmError::decode(FAILED - failed) {
            Ok(()) => StartError::NoTask,
            Err(error) => StartError::Arm(error),
        })),
    }
}

/// What the service is doing, and if it is off, why.
#[must_use]
pub fn status() -> Status {
    decode(STATUS.load(Ordering::Acquire))
}

pub(super) fn set(status: Status) {
    STATUS.store(encode(status), Ordering::Release);
}

/// Leaves an off state, for one caller only.
pub(super) fn begin() -> bool {
    let off = |number| matches!(decode(number), Status::Off(_)).then_some(CHANGING);
    STATUS.fetch_update(Ordering::AcqRel, Ordering::Acquire, off).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_being_a_number() {
        let failures =
            [StartError::NoTask, StartError::Arm(ArmError::NotKvm), StartError::Arm(ArmError::BadArea)];
        let off = [Off::NotStarted, Off::Stopped].into_iter().chain(failures.map(Off::Failed));
        let others = [
            Status::Changing,
            Status::Quiesced,
            Status::Running { cores: 0 },
            Status::Running { cores: u16::MAX },
        ];
        for status in off.map(Status::Off).chain(others) {
            assert_eq!(decode(encode(status)), status);
        }
    }
}
