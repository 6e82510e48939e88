//! Task switches that are withheld while a context must keep its core.

use core::sync::atomic::{AtomicBool, Ordering};

use apf_core::event::CoreId;

use crate::cores::{self, MAX_CORES};
use crate::hooks;
use crate::processor::now;

/// A task switch was requested and withheld.
static WITHHELD: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

/// Returns true if the running task must keep the core. The scheduler calls this before
/// it switches. `is_preempted`: the task is still running, that is, has not blocked itself.
/// `is_alone`: no other task is ready.
///
/// While a context halts, it may be anywhere in the kernel, so nothing else may run. A
/// withheld switch is done at the end of the halt or guard.
pub fn holds_core(is_preempted: bool, critical_depth: u32, is_alone: bool) -> bool {
    let id = cores::this_id();
    let is_halting = cores::get(id).is_some_and(|core| {
        core.note_work(is_preempted || !is_alone, now);
        core.is_halting()
    });
    let hold = is_halting || (is_preempted && critical_depth > 0);
    if hold {
        WITHHELD[id].store(true, Ordering::Relaxed);
    }
    hold
}

/// Notes whether a task can run on this core. The scheduler calls this after its background tasks,
/// which may have woken one since [`holds_core`].
pub fn note_work(has_work: bool) {
    if let Some(core) = cores::this() {
        core.note_work(has_work, now);
    }
}

/// Does a withheld switch once nothing holds `core` any more, on which this runs.
pub fn switch_if_withheld(core: CoreId) {
    // A load first: mostly there is none, and the exchange is a locked one.
    let withheld = &WITHHELD[usize::from(core.0)];
    if withheld.load(Ordering::Relaxed) && withheld.swap(false, Ordering::Relaxed) {
        // SAFETY: a hook, called in task context.
        unsafe { hooks::apf_hook_reschedule() };
    }
}
