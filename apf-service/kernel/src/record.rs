//! Recording single faults, where a program wants it ([`apf_core::record`]).

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::cores::MAX_CORES;
use apf_core::record::{Fault, Recorder};

static RECORDERS: [AtomicPtr<Recorder>; MAX_CORES] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CORES];
static RECORDING: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

fn recorder(core: usize) -> Option<&'static Recorder> {
    let recorder = RECORDERS.get(core)?.load(Ordering::Acquire);
    // SAFETY: the pointer is null or from a leaked box (`prepare`), never freed.
    unsafe { recorder.as_ref() }
}

/// From now on `core` records faults, until it has `capacity`; none if that is
/// 0. Allocates at the first call, and when there is to be more room; what was
/// there is then never freed, since the core may be recording to it.
pub fn prepare(core: usize, capacity: usize) {
    if capacity > recorder(core).map_or(0, Recorder::capacity) {
        let new: &'static Recorder = Box::leak(Box::new(Recorder::new(capacity)));
        RECORDERS[core].store(core::ptr::from_ref(new).cast_mut(), Ordering::Release);
    }
    RECORDING[core].store(capacity > 0, Ordering::Release);
}

/// Records a fault of `core`, the one this runs on.
pub fn keep(core: usize, fault: Fault) {
    if RECORDING[core].load(Ordering::Relaxed)
        && let Some(recorder) = recorder(core)
    {
        recorder.keep(fault);
    }
}

/// The oldest fault of `core` that nobody has taken.
pub fn take(core: usize) -> Option<Fault> {
    recorder(core)?.take()
}
