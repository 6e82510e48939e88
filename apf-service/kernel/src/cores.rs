//! Each core's state, by the core's number.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use apf_core::event::CoreId;
use apf_core::vcpu::VCpu;

use crate::hooks;

/// Cores the service has room for.
pub const MAX_CORES: usize = 64;

static CORES: [AtomicPtr<VCpu>; MAX_CORES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CORES];
/// One more than the highest core that has ever been armed.
static CORES_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The state of `core`; `None` if it was never armed.
pub fn vcpu(core: usize) -> Option<&'static VCpu> {
    let vcpu = CORES.get(core)?.load(Ordering::Acquire);
    // SAFETY: the pointer is null or from a leaked box (`vcpu_or_new`), never freed.
    unsafe { vcpu.as_ref() }
}

/// The state of `core`, made if it was never armed. For that core alone, in task context.
pub fn vcpu_or_new(core: usize) -> &'static VCpu {
    vcpu(core).unwrap_or_else(|| {
        let new: &'static VCpu = Box::leak(Box::new(VCpu::new(CoreId(core as u16))));
        CORES[core].store(core::ptr::from_ref(new).cast_mut(), Ordering::Release);
        CORES_IN_USE.fetch_max(core + 1, Ordering::AcqRel);
        new
    })
}

/// Every core that has ever been armed.
pub fn vcpus() -> impl Iterator<Item = (usize, &'static VCpu)> + Clone {
    let cores = 0..CORES_IN_USE.load(Ordering::Acquire);
    cores.filter_map(|core| Some((core, vcpu(core)?)))
}

/// The number of the core this runs on.
pub fn this_core() -> usize {
    // SAFETY: a hook; it reads the core's own number.
    unsafe { hooks::apf_hook_core() as usize }
}

/// The state of the core this runs on.
pub fn this_vcpu() -> Option<&'static VCpu> {
    vcpu(this_core())
}
