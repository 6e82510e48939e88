//! Sections in which the task must keep its core.

use core::marker::PhantomData;

use crate::ffi;

/// Section in which the task keeps its core unless it blocks itself: its async page faults
/// wait by halt, and no interrupt ends in another task. Guards nest, and count per task.
///
/// The price is that the core stands still while a page comes in, so keep the
/// section short. Off Hermit, or with the service off, it costs almost nothing.
///
/// ```
/// let guard = apf_service::NonPreemptible::enter();
/// // … touch per-core data …
/// drop(guard);
/// ```
#[derive(Debug)]
#[must_use = "the section ends when the guard is dropped"]
pub struct NonPreemptible {
    /// The count belongs to the task that entered.
    not_send: PhantomData<*const ()>,
}

impl NonPreemptible {
    /// Starts a section.
    pub fn enter() -> Self {
        ffi::guard_enter();
        Self { not_send: PhantomData }
    }
}

impl Drop for NonPreemptible {
    fn drop(&mut self) {
        ffi::guard_exit();
    }
}
