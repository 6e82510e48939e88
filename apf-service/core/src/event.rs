//! Names of cores and generations, and the events that interrupt context leaves for the
//! service thread.
#![forbid(unsafe_code)]

use crate::protocol::Token;
use crate::time::Tsc;

/// A core's number, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct CoreId(pub u16);

/// Number of times that a core has been armed. Tokens of an earlier generation do not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Generation(pub u16);

/// A ready without a waiter on its core: one entry of a core's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The fault's name.
    pub token: Token,
    /// The core's generation in which it came.
    pub generation: Generation,
    /// Time at which it came.
    pub at: Tsc,
}
