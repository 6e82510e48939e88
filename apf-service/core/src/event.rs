//! What interrupt context tells the service thread.
#![forbid(unsafe_code)]

use crate::protocol::Token;
use crate::slots::Ticket;
use crate::time::Tsc;

/// A core's number, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct CoreId(pub u16);

/// How often a core has been armed. Tokens of an earlier life do not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Generation(pub u16);

impl Generation {
    /// Whether this life came before `other`. Generations wrap, so of two the
    /// one less than half the range behind is the earlier (RFC 1982).
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) > u16::MAX / 2
    }
}

/// The kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A task waits for `token`; `ticket` releases it. Without a ticket nobody
    /// waits, and the matching ready is to be swallowed.
    NotPresent = 1,
    /// The page of `token` is back.
    Ready = 2,
    /// Everything that waits on this core is to be released.
    WakeAll = 3,
}

/// One entry of a core's queue. It crosses from the kernel archive to the
/// program, two compilations of this crate, so its layout is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// For which fault.
    pub token: Token,
    /// Who waits; [`Ticket::NONE`] but for `NotPresent`.
    pub ticket: Ticket,
    /// On which core.
    pub core: CoreId,
    /// In which life of that core.
    pub generation: Generation,
    /// When.
    pub at: Tsc,
    /// The instruction that touched the page; 0 but for `NotPresent`.
    pub rip: u64,
}

const _: () = assert!(size_of::<Event>() == 32);
