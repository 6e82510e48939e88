//! Lines on standard output and standard error.
//!
//! The macros take the place of the standard library's in the whole program. Those panic when the
//! reader of a pipe has gone (`cargo xtask report | head -1`) or the disk is full; these end the
//! program in order.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::process::guard;

/// Exit code of a program whose reader has gone: what a shell reports after SIGPIPE.
const READER_GONE: i32 = 128 + 13;

macro_rules! println {
    () => { println!("") };
    ($($text:tt)*) => { $crate::print::line(std::io::stdout().lock(), format_args!($($text)*)) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::print::line(std::io::stderr().lock(), format_args!($($text)*)) };
}

/// Prints a line, or ends the program.
pub fn line(mut to: impl Write, text: Arguments<'_>) {
    if let Err(error) = writeln!(to, "{text}") {
        drop(to);
        match error.kind() {
            ErrorKind::BrokenPipe => guard::leave(READER_GONE, ""),
            _ => guard::leave(1, &format!("error: cannot print: {error}")),
        }
    }
}
