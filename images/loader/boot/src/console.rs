//! The serial line, and the way out.

use core::fmt::{Arguments, Write};

use apf_loader::error::ExitCode;
use uart_16550::SerialPort;

/// The first serial port of a PC.
pub const PORT: u16 = 0x3f8;

/// `isa-debug-exit`'s port where Hermit expects it too. Nobody listens there
/// without the device.
const EXIT_PORT: u16 = 0xf4;

fn serial_port() -> SerialPort {
    // SAFETY: every PC that QEMU makes has its first serial port there or nothing.
    unsafe { SerialPort::new(PORT) }
}

/// Prepares the serial line.
pub fn init() {
    serial_port().init();
}

/// Says what went wrong and leaves QEMU, or halts if QEMU has no way out.
pub fn fail(code: ExitCode, message: Arguments<'_>) -> ! {
    // A serial port takes whatever it is given.
    let _ = writeln!(serial_port(), "apf-loader: error: {message}");
    // SAFETY: ends the VM if `isa-debug-exit` is there, and is ignored if it is not.
    unsafe { x86::io::outl(EXIT_PORT, code as u32) };
    loop {
        // SAFETY: interrupts have been off since the start; nothing is left to do.
        unsafe { x86::halt() };
    }
}
