//! A ready that arrives on another core than its fault.
//!
//! KVM raises it on the core that faulted, but does not guarantee that
//! (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_ASYNC_PF_INT). A fault on core B and
//! its ready on core A meet like this:
//!
//! ```text
//!   A: ready interrupt                 B: #PF
//!   early ready += token               slot := waits for token
//!   fence                              fence
//!   does a slot elsewhere halt         is it among the early ones
//!   for it?                            elsewhere?
//!     yes: release it, interrupt B       yes: retry
//!     no: event to the service           no: wait
//!         thread
//!   service thread, after that:
//!   does a slot elsewhere wait for it?
//!     yes: release it, forget the token
//!     no: it stays among the early ones
//! ```
//!
//! The fences order each core's store before its load, and the service thread looks
//! after A's fence (the queue orders it behind). So either B sees the token, or A and
//! the service thread see the slot, and the waiter continues.
//!
//! A releases only halting waiters: a halt may prevent the service thread from running.
#![forbid(unsafe_code)]

use crate::classify::Wait;
use crate::early_ready::{EarlyCount, EarlyReady};
use crate::protocol::Token;
use crate::slot::Slot;
use crate::slots::Slots;
use crate::sync::fence;
use crate::time::Tsc;

/// Releases the halting wait for `token` on one of the other cores, and returns that
/// core. A's side, after it has remembered `token`.
pub fn release_halting<'a, T>(
    mut others: impl Iterator<Item = (T, &'a Slots)>,
    token: Token,
    now: Tsc,
) -> Option<T> {
    fence();
    others.find_map(|(core, slots)| slots.release_halting(token, now).then_some(core))
}

/// Takes `token` from the other cores' early ones. B's side, after its slot waits for it.
pub fn take_early<'a>(
    mut others: impl Iterator<Item = &'a EarlyReady>,
    token: Token,
    count: &EarlyCount,
) -> bool {
    fence();
    count.get() != 0 && others.any(|early| early.take_of_any_generation(token, count))
}

/// Releases the wait for `token`, which was ready at `ready`, on one of the other cores.
/// The service thread's side.
pub fn release<'a, T>(
    mut others: impl Iterator<Item = (T, &'a Slots)>,
    token: Token,
    ready: Tsc,
    now: Tsc,
) -> Option<(T, &'a Slot, Wait)> {
    others.find_map(|(core, slots)| {
        let (slot, wait) = slots.release(token, ready, now)?;
        Some((core, slot, wait))
    })
}
