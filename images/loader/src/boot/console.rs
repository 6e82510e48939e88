//! The serial line, and the end of the VM with an exit code.

use core::fmt::{Arguments, Write};

use apf_loader::error::ExitCode;
use uart_16550::SerialPort;

/// The first serial port of a PC.
pub const PORT: u16 = 0x3f8;

/// Port of `isa-debug-exit`, the same as in Hermit. Without that device writes to it are
/// ignored.
const EXIT_PORT: u16 = 0xf4;

fn serial_port() -> SerialPort {
    // SAFETY: a PC has its first serial port at this address, or no device.
    unsafe { SerialPort::new(PORT) }
}

/// Prepares the serial line.
pub fn init() {
    serial_port().init();
}

/// Prints the error and ends QEMU with the code; halts if QEMU has no `isa-debug-exit`.
pub fn fail(code: ExitCode, message: Arguments<'_>) -> ! {
    // Writing to a serial port cannot fail.
    let _ = writeln!(serial_port(), "apf-loader: error: {message}");
    // SAFETY: ends the VM if it has `isa-debug-exit`, and is ignored otherwise.
    unsafe { x86::io::outl(EXIT_PORT, code as u32) };
    loop {
        // SAFETY: interrupts are off since the entry, so this stops the processor for good.
        unsafe { x86::halt() };
    }
}
