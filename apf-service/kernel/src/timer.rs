//! Time for which each core's local timer is set.
//!
//! A halt ends at its limit because the timer interrupts it. Most halts find that the timer
//! is set already for a time before their limit, and leave it alone: setting it is an exit
//! of the virtual machine.

use core::sync::atomic::{AtomicU64, Ordering};

use apf_core::event::CoreId;
use apf_core::time::Tsc;

use crate::cores::{self, MAX_CORES};
use crate::hooks;

/// In cycles; [`u64::MAX`] while the timer is off.
static SET_FOR: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(u64::MAX) }; MAX_CORES];

/// Notes that the kernel has set this core's timer for the time at which the time-stamp
/// counter has counted `micros` microseconds, or turned it off. With interrupts off.
pub fn timer_was_set(micros: Option<u64>) {
    // SAFETY: a hook that reads a constant.
    let mhz = u64::from(unsafe { hooks::apf_hook_tsc_mhz() });
    if let Some(place) = SET_FOR.get(cores::this_id()) {
        place.store(micros.map_or(u64::MAX, |micros| micros.saturating_mul(mhz)), Ordering::Relaxed);
    }
}

/// Makes sure that the timer interrupts `core`, on which this runs, at `deadline` at the
/// latest; `false` if that is over. With interrupts off. The next interrupt may undo it:
/// the kernel then sets the timer for its own purposes.
pub fn wake_by(core: CoreId, deadline: Tsc) -> bool {
    let set_for = SET_FOR[usize::from(core.0) % MAX_CORES].load(Ordering::Relaxed);
    // SAFETY: a hook, with interrupts off as it demands.
    set_for <= deadline.0 || unsafe { hooks::apf_hook_wake_by(deadline.0) }
}
