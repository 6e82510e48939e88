//! Hermit: the program handles async page faults itself, by `apf_service`.

use std::ops::Range;
use std::process::ExitCode;

use apf_service::{Config, Service, Waits};
pub use apf_service::{physical_address, tsc_mhz};
use apf_vocabulary::Mode;

/// All waits can be made halts.
pub const CAN_HALT: bool = true;

/// The running service; dropped without [`stop`](Self::stop) it stays on.
pub struct Running(Service);

impl Running {
    /// Stops the service.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Does nothing.
pub const fn begin() {}

/// Returns the exit code: the kernel ends with its program.
pub const fn end(code: ExitCode) -> ExitCode {
    code
}

/// Starts the service if `mode` needs it: `waits` sets the kind of async waits, and there is
/// room to record `record` faults per core.
///
/// # Errors
/// It cannot be started; the message is one line.
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

/// Returns `None`: the kernel's code is in the image.
pub const fn kernel_code() -> Option<Range<u64>> {
    None
}

/// Returns 0: the service counts its ready interrupts itself.
pub const fn ready_interrupts() -> u64 {
    0
}
