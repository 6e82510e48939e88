//! Task switches that are withheld while a context must keep its core.

use core::sync::atomic::{AtomicBool, Ordering};

use apf_core::event::CoreId;
use apf_core::per_core::Core;

use crate::cores::{self, MAX_CORES};
use crate::hooks;

/// A task switch was requested and withheld.
static WITHHELD: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

/// A task could run when the scheduler last looked.
static HAS_WORK: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(true) }; MAX_CORES];

/// Returns true if a task could run on `core` when its scheduler last looked.
pub fn has_work(core: CoreId) -> bool {
    HAS_WORK[usize::from(core.0) % MAX_CORES].load(Ordering::Relaxed)
}

/// Returns true if the running task must keep the core. The scheduler calls this before
/// it switches. `is_preempted`: the task is still running, that is, has not blocked itself.
/// `is_alone`: no other task is ready.
///
/// While a context halts, it may be anywhere in the kernel, so nothing else may run. A
/// withheld switch is done at the end of the halt or guard.
pub fn holds_core(is_preempted: bool, critical_depth: u32, is_alone: bool) -> bool {
    HAS_WORK[cores::this_id() % MAX_CORES].store(is_preempted || !is_alone, Ordering::Relaxed);
    let hold = cores::this().is_some_and(Core::is_halting) || (is_preempted && critical_depth > 0);
    if hold {
        WITHHELD[cores::this_id()].store(true, Ordering::Relaxed);
    }
    hold
}

/// Does a withheld switch once nothing holds the core any more.
pub fn switch_if_withheld() {
    if WITHHELD[cores::this_id()].swap(false, Ordering::Relaxed) {
        // SAFETY: a hook, called in task context.
        unsafe { hooks::apf_hook_reschedule() };
    }
}
