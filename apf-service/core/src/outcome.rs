//! Outcomes of both interrupts, for their handlers.
#![forbid(unsafe_code)]

use crate::classify::Wait;
use crate::protocol::Token;
use crate::slot::Ticket;

/// Continuation of a not-present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPresent {
    /// Wait on this ticket's slot.
    Wait(Ticket, Wait),
    /// Retry the access at once: its ready came first, or there is no slot to
    /// wait on. If the page is still out, the host halts the core itself.
    Retry,
}

/// Outcome of a #PF, for the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// Leave it to the kernel's own handler: not an async one.
    NotOurs,
    /// Continue at the interrupted instruction.
    Return(Work),
    /// Wait on this ticket's slot, in this way.
    Wait(Ticket, Wait),
    /// Give up: it was injected with interrupts off, so the context can neither wait nor
    /// go on.
    BrokenHost(Token),
}

/// Continuation of a halt that has reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastLimit {
    /// The wait is over: its ready came after all, or the access is to be retried.
    Over,
    /// The wait continues by schedule.
    Schedule,
}

/// Work to be done at the end of an interrupt; the later includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// Let the scheduler choose who runs: a task was woken.
    Reschedule,
}
