//! A ready that arrives on another core than its fault.
//!
//! KVM raises it on the core that faulted, but promises that to nobody
//! (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_ASYNC_PF_INT). Who waits by
//! schedule is found by the service thread, wherever the ready came. Who waits
//! by halt may be the one that keeps the service thread from running, so the
//! two cores settle it between themselves:
//!
//! ```text
//!   A: ready interrupt                 B: #PF that is to wait by halt
//!   recent += token                    slot := halting for token
//!   fence                              fence
//!   does a slot elsewhere halt         is it among the recent ones
//!   for it?                            elsewhere?
//!     yes: release it, interrupt B       yes: retry
//!     no: to the service thread          no: halt
//! ```
//!
//! The fences order each core's store before its load, so at least one of the
//! two sees the other's store, and the waiter goes on.
//!
//! Both remember the last 64 readies of a core, and a ready that comes before
//! its fault is taken to be among them. If it comes on another core, finds that
//! one's queue full, and the fault then waits by schedule, it is the watchdog's.
#![forbid(unsafe_code)]

use crate::protocol::Token;
use crate::recent::RecentReady;
use crate::slots::Slots;
use crate::sync::fence;
use crate::time::Tsc;

/// A's side, after it has remembered `token`: of the other cores, the one on
/// which a halting wait for it was released.
pub fn release_elsewhere<'a, T>(
    mut others: impl Iterator<Item = (T, &'a Slots)>,
    token: Token,
    now: Tsc,
) -> Option<T> {
    fence();
    others.find_map(|(core, slots)| slots.release_halting(token, now).then_some(core))
}

/// B's side, after its slot halts for `token`: whether its ready has come on
/// another core. It is consumed there.
pub fn came_elsewhere<'a>(mut others: impl Iterator<Item = &'a RecentReady>, token: Token) -> bool {
    fence();
    others.any(|recent| recent.take_of_any_life(token))
}
