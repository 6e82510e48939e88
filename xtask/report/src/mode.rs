//! Modes by name.

use crate::document::Mode;

impl Mode {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Blocked, Self::Halt, Self::Async, Self::LinuxBlocked, Self::LinuxAsync];

    /// Its name in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Halt => "halt",
            Self::Async => "async",
            Self::LinuxBlocked => "linux-blocked",
            Self::LinuxAsync => "linux-async",
        }
    }

    /// Whether the guest is Linux.
    #[must_use]
    pub const fn is_linux(self) -> bool {
        matches!(self, Self::LinuxBlocked | Self::LinuxAsync)
    }
}
