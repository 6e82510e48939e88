//! Hermit: faults are this program's own business, by `apf_service`.

use std::ops::Range;
use std::process::ExitCode;

use apf_service::{Config, Service, Waits};
pub use apf_service::{physical_address, tsc_mhz};
use apf_vocabulary::Mode;

/// Whether waits can be made halts, all of them.
pub const CAN_HALT: bool = true;

/// What is running while faults are async; dropped without [`stop`](Self::stop)
/// it stays on.
pub struct Running(Service);

impl Running {
    /// Ends it.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Nothing is to be prepared.
pub const fn begin() {}

/// The kernel ends with its program.
pub const fn end(code: ExitCode) -> ExitCode {
    code
}

/// Starts the service if `mode` wants it: asynchronous waits are as `waits` says, and there
/// is room to record `record` faults a core.
///
/// # Errors
/// Why it cannot be started, in one line.
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

/// None that is not in the image.
pub const fn kernel_code() -> Option<Range<u64>> {
    None
}

/// None that the service does not count.
pub const fn ready_interrupts() -> u64 {
    0
}
