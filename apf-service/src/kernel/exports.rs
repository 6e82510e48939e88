//! What the program may call (see [`abi`](crate::abi)).

use core::sync::atomic::Ordering;

use super::{arm, fault, futex, hooks, now, record, switch_if_withheld, vcpu, vcpus};
use crate::abi::ArmError;
use crate::classify::Waits;
use crate::event::Event;
use crate::record::Fault;
use crate::slots::{Released, Ticket};
use crate::stats::CoreStats;
use crate::time::Tsc;
use crate::vcpu::oldest_event;

/// Arms the core this runs on, for [`Waits::decode`]`(waits)` with its limit in
/// microseconds, to record up to `record` faults; see [`ArmError::decode`].
#[unsafe(no_mangle)]
extern "C" fn apf_arm(waits: u32, halt_below_us: u64, record: usize) -> i32 {
    let halt_below = halt_below_us.saturating_mul(apf_tsc_mhz().into());
    ArmError::encode(arm::arm(Waits::decode(waits), halt_below, record))
}

/// Moves recorded faults of `core` to `buffer`; returns how many.
///
/// # Safety
/// `buffer` holds `capacity` faults.
#[unsafe(no_mangle)]
unsafe extern "C" fn apf_recorded(core: u32, buffer: *mut Fault, capacity: usize) -> usize {
    let faults = core::iter::from_fn(|| record::take(core as usize));
    faults.take(capacity).enumerate().fold(0, |_, (i, fault)| {
        // SAFETY: i < capacity.
        unsafe { buffer.add(i).write(fault) };
        i + 1
    })
}

/// Disarms the core this runs on and releases its waiters.
#[unsafe(no_mangle)]
extern "C" fn apf_disarm() -> i32 {
    ArmError::encode(arm::disarm())
}

/// Moves events of all cores to `buffer`, the oldest first; returns how many.
///
/// # Safety
/// `buffer` holds `capacity` events.
#[unsafe(no_mangle)]
unsafe extern "C" fn apf_events(buffer: *mut Event, capacity: usize) -> usize {
    let all = core::iter::from_fn(|| oldest_event(vcpus().map(|(_, vcpu)| vcpu)));
    all.take(capacity).enumerate().fold(0, |_, (i, event)| {
        // SAFETY: i < capacity.
        unsafe { buffer.add(i).write(event) };
        i + 1
    })
}

/// How often there was work for the service thread, to be given to [`apf_sleep`].
#[unsafe(no_mangle)]
extern "C" fn apf_work() -> u32 {
    fault::SERVICE_WORK.load(Ordering::Acquire)
}

/// Blocks until there is more work than `seen`, or `limit_us` microseconds
/// have gone by; [`u64::MAX`] is for ever.
#[unsafe(no_mangle)]
extern "C" fn apf_sleep(seen: u32, limit_us: u64) {
    let limit = (limit_us != u64::MAX).then_some(limit_us);
    futex::wait(&fault::SERVICE, &fault::SERVICE_WORK, seen, limit);
}

/// Makes the service thread look, as if there were work.
#[unsafe(no_mangle)]
extern "C" fn apf_wake_service() {
    fault::wake_up_service();
}

/// Ends the wait of `ticket` on `core`, whose page was ready at `ready`.
#[unsafe(no_mangle)]
extern "C" fn apf_release(core: u32, ticket: Ticket, ready: Tsc) {
    let Some(vcpu) = vcpu(core as usize) else { return };
    if vcpu.release(ticket, ready, now()) == Released::Scheduled {
        futex::wake(vcpu.slots.get(ticket).sleeper());
    }
}

/// Whether the wait by schedule of `ticket` on `core` goes on.
#[unsafe(no_mangle)]
extern "C" fn apf_waits(core: u32, ticket: Ticket) -> bool {
    vcpu(core as usize).is_some_and(|vcpu| vcpu.slots.is_scheduled(ticket))
}

/// Whether ready interrupts may release scheduled waiters themselves, on all cores
/// that have ever been armed.
#[unsafe(no_mangle)]
extern "C" fn apf_allow_hand_off(allow: bool) {
    vcpus().for_each(|(_, vcpu)| vcpu.allow_hand_off(allow));
}

/// The running task must not be switched away from, until [`apf_guard_exit`].
#[unsafe(no_mangle)]
extern "C" fn apf_guard_enter() {
    // SAFETY: a hook in task context.
    unsafe { hooks::apf_hook_critical(1) };
}

/// Ends one [`apf_guard_enter`].
#[unsafe(no_mangle)]
extern "C" fn apf_guard_exit() {
    // SAFETY: a hook in task context.
    if unsafe { hooks::apf_hook_critical(-1) } == 0 {
        switch_if_withheld();
    }
}

/// The core this runs on.
#[unsafe(no_mangle)]
extern "C" fn apf_core() -> u32 {
    super::this_core() as u32
}

/// What `core` counted; null if it was never armed.
#[unsafe(no_mangle)]
extern "C" fn apf_core_stats(core: u32) -> *const CoreStats {
    vcpu(core as usize).map_or(core::ptr::null(), |v| &raw const v.stats)
}

/// Guest-physical address of `virtual_address`; [`u64::MAX`] if nothing is mapped there.
#[unsafe(no_mangle)]
extern "C" fn apf_physical(virtual_address: u64) -> u64 {
    // SAFETY: a hook; it walks the page tables.
    unsafe { hooks::apf_hook_physical(virtual_address) }.unwrap_or(u64::MAX)
}

/// The time-stamp counter's frequency in MHz.
#[unsafe(no_mangle)]
extern "C" fn apf_tsc_mhz() -> u32 {
    // SAFETY: a hook that reads a constant.
    unsafe { hooks::apf_hook_tsc_mhz() }
}
