//! Reasons why the service does not start.

use apf_core::abi::ArmError;

impl StartError {
    /// The kernel made no task with a stack of `bytes`.
    pub(crate) const fn no_task(bytes: usize) -> Self {
        Self::NoTask { kib: bytes as u64 / 1024 }
    }
}

/// Reason why the service did not start. The program runs on without it: the host
/// stops the core at a fault, as it always did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It runs already.
    #[error("the async page fault service is running already: there is one for the whole program")]
    AlreadyRunning,
    /// The kernel made no task for it.
    #[error(
        "no memory for a task with a stack of {kib} KiB for the async page fault service: give the guest more \
         memory, or the service a smaller stack"
    )]
    NoTask {
        /// The task's stack.
        kib: u64,
    },
    /// [`Config::watchdog`](crate::Config::watchdog) is too short.
    #[error(
        "a watchdog of {micros} µs would retry nearly every wait: let it be at least 1 ms, or `None`; the default \
         is 10 s"
    )]
    WatchdogTooShort {
        /// The watchdog's limit, rounded down.
        micros: u16,
    },
    /// The program is linked with a kernel archive of another version.
    #[error(
        "the kernel archive is of version {archive}, this program of version {program}: rebuild the archive \
         (`cargo xtask build`), then the program"
    )]
    VersionMismatch {
        /// [`VERSION`](apf_core::abi::VERSION) of the archive.
        archive: u32,
        /// That of the program.
        program: u32,
    },
    /// A core could not be armed.
    #[error("async page faults stay off: {0}")]
    Arm(#[from] ArmError),
}
