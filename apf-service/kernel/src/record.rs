//! Finished faults, kept where a program wants to see each ([`apf_core::record`]).

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use apf_core::record::{Fault, Recorder};

use crate::cores::MAX_CORES;

/// Faults for the program, until it takes them.
pub static RECORD: Rings = Rings::new();
/// Faults for the log.
pub static LOG: Rings = Rings::new();

/// A ring for each core, and whether faults are put into it.
pub struct Rings {
    rings: [AtomicPtr<Recorder>; MAX_CORES],
    on: [AtomicBool; MAX_CORES],
}

impl Rings {
    const fn new() -> Self {
        Self {
            rings: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CORES],
            on: [const { AtomicBool::new(false) }; MAX_CORES],
        }
    }

    fn ring(&self, core: usize) -> Option<&'static Recorder> {
        let ring = self.rings.get(core)?.load(Ordering::Acquire);
        // SAFETY: the pointer is null or from a leaked box (`prepare`), never freed.
        unsafe { ring.as_ref() }
    }

    /// Keeps the faults of core `id` from now on, until there are `capacity`; none if that
    /// is 0. Allocates at the first call, and when there is to be more room; the smaller
    /// ring is then never freed, since the core may be recording to it.
    pub fn prepare(&self, id: usize, capacity: usize) {
        if capacity > self.ring(id).map_or(0, Recorder::capacity) {
            let new: &'static Recorder = Box::leak(Box::new(Recorder::new(capacity)));
            self.rings[id].store(core::ptr::from_ref(new).cast_mut(), Ordering::Release);
        }
        self.on[id].store(capacity > 0, Ordering::Release);
    }

    /// Keeps a fault of the core this runs on.
    pub fn keep(&self, fault: &Fault) {
        let core = usize::from(fault.core.0);
        if self.on[core].load(Ordering::Relaxed)
            && let Some(ring) = self.ring(core)
        {
            ring.keep(*fault);
        }
    }

    /// Moves the oldest recorded fault of `core` to `fault`, if there is one.
    pub fn take(&self, core: u32, fault: &mut Fault) -> bool {
        let taken = self.ring(core as usize).and_then(Recorder::take);
        taken.inspect(|taken| *fault = *taken).is_some()
    }
}
