//! Hermit: this program handles its own faults, by `apf_service`.

use std::ops::Range;
use std::process::ExitCode;

use apf_service::{Config, Service, Waits};
pub use apf_service::{physical_address, tsc_mhz};
use apf_vocabulary::Mode;

/// True if all waits can be forced to halt.
pub const CAN_HALT: bool = true;

/// Running service. It stays on if this is dropped without [`stop`](Self::stop).
pub struct Running(Service);

impl Running {
    /// Stops the service.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Prepares nothing.
pub const fn begin() {}

/// Passes the code on: the kernel ends with its program.
pub const fn end(code: ExitCode) -> ExitCode {
    code
}

/// Starts the service if `mode` needs it. Async waits follow `waits`; each core has room to
/// record `record` faults.
///
/// # Errors
/// Reason why it cannot start, in one line.
pub fn start(mode: Mode, waits: Waits, record: usize) -> Result<Option<Running>, String> {
    let waits = match mode {
        Mode::Blocked => return Ok(None),
        Mode::Async => waits,
        Mode::Halt => Waits::Halt,
        Mode::LinuxBlocked | Mode::LinuxAsync => {
            return Err(format!("{} is a mode of Linux, and this is Hermit", mode.name()));
        }
    };
    match apf_service::start(Config { waits, record, ..Config::default() }) {
        Ok(service) => Ok(Some(Running(service))),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns `None`: the kernel is in the image.
pub const fn kernel_code() -> Option<Range<u64>> {
    None
}

/// Returns 0: the service counts all of them.
pub const fn ready_interrupts() -> u64 {
    0
}
