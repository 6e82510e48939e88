//! The description of the machine, independent of the boot protocol.

use core::num::NonZeroU64;
use core::ops::Range;

use alloc::string::String;
use alloc::vec::Vec;

/// The description that the loader needs. It holds no pointer to the boot loader's data,
/// which the image may overwrite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Usable memory, from [`usable`](crate::memory::usable).
    pub memory: Vec<Range<u64>>,
    /// Address range of the image's file.
    pub module: Option<Range<u64>>,
    /// The kernel's arguments, `--`, and the application's.
    pub command_line: String,
    /// Address of the ACPI root pointer.
    pub rsdp: Option<NonZeroU64>,
}
