//! The atomics of what `loom` models: its own in a model, `core`'s elsewhere.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
use core::sync::atomic as atomics;
#[cfg(loom)]
use loom::sync::atomic as atomics;

pub use atomics::{AtomicU8, AtomicU32, AtomicU64};

/// Orders all stores before it ahead of all loads behind it (on x86 `mfence`:
/// the only order of two accesses that the processor does not keep by itself,
/// Intel SDM vol. 3, "Memory Ordering").
#[inline]
pub fn fence() {
    atomics::fence(atomics::Ordering::SeqCst);
}
