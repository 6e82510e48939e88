//! Modes by name.

use crate::document::Mode;

impl Mode {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Halt, Self::Async];

    /// As in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Halt => "halt",
            Self::Async => "async",
        }
    }
}
