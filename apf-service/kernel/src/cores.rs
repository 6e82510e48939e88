//! Each core's state, by the core's number.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use apf_core::event::CoreId;
use apf_core::per_core::Core;

use crate::hooks;

/// Cores the service has room for.
pub const MAX_CORES: usize = 64;

static CORES: [AtomicPtr<Core>; MAX_CORES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CORES];
/// One more than the highest core that has ever been armed.
static CORES_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Returns the state of core `id`; `None` if it was never armed.
pub fn get(id: usize) -> Option<&'static Core> {
    let core = CORES.get(id)?.load(Ordering::Acquire);
    // SAFETY: the pointer is null or from a leaked box (`get_or_new`), never freed.
    unsafe { core.as_ref() }
}

/// Returns the state of core `id`, made if it was never armed. For that core alone, in
/// task context.
pub fn get_or_new(id: usize) -> &'static Core {
    get(id).unwrap_or_else(|| {
        let new: &'static Core = Box::leak(Box::new(Core::new(CoreId(id as u16))));
        CORES[id].store(core::ptr::from_ref(new).cast_mut(), Ordering::Release);
        CORES_IN_USE.fetch_max(id + 1, Ordering::AcqRel);
        new
    })
}

/// Returns every core that has ever been armed.
pub fn all<'a>() -> impl Iterator<Item = &'a Core> {
    (0..CORES_IN_USE.load(Ordering::Acquire)).filter_map(|id| -> Option<&'a Core> { get(id) })
}

/// Returns the number of the core this runs on.
pub fn this_id() -> usize {
    // SAFETY: a hook; it reads the core's own number.
    unsafe { hooks::apf_hook_core() as usize }
}

/// Returns the state of the core this runs on.
pub fn this() -> Option<&'static Core> {
    get(this_id())
}
