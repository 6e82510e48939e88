//! Reasons why the service does not start.

use apf_core::abi::ArmError;

/// Reason why the service did not start. The program runs on without it: the host
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
