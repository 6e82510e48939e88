//! The machine as a boot loader described it, by whichever protocol.

use core::num::NonZeroU64;
use core::ops::Range;

use alloc::string::String;
use alloc::vec::Vec;

/// What the loader needs to know. Nothing in it points to where it was read: that
/// memory may be the image's next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Usable memory, as [`usable`](crate::memory::usable) gives it.
    pub memory: Vec<Range<u64>>,
    /// Where the image's file is.
    pub module: Option<Range<u64>>,
    /// The kernel's arguments, `--`, and the application's.
    pub command_line: String,
    /// Address of the ACPI root pointer.
    pub rsdp: Option<NonZeroU64>,
}
