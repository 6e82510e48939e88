//! Calls into the kernel archive; elsewhere than on Hermit, their absence.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use crate::abi::ArmError;
use crate::classify::Waits;
use crate::event::{CoreId, Event};
use crate::record::Fault;
use crate::slots::Ticket;
use crate::stats::CoreStats;
use crate::time::Tsc;

#[cfg(target_os = "hermit")]
mod hermit {
    use super::*;

    unsafe extern "C" {
        pub safe fn apf_arm(waits: u32, halt_below_us: u64, record: usize) -> i32;
        pub fn apf_recorded(core: u32, buffer: *mut Fault, capacity: usize) -> usize;
        pub safe fn apf_disarm() -> i32;
        pub fn apf_events(buffer: *mut Event, capacity: usize) -> usize;
        pub safe fn apf_work() -> u32;
        pub safe fn apf_sleep(seen: u32, limit_us: u64);
        pub safe fn apf_wake_service();
        pub safe fn apf_release(core: u32, ticket: Ticket, ready: Tsc);
        pub safe fn apf_waits(core: u32, ticket: Ticket) -> bool;
        pub safe fn apf_allow_hand_off(allow: bool);
        pub safe fn apf_guard_enter();
        pub safe fn apf_guard_exit();
        pub safe fn apf_core_stats(core: u32) -> *const CoreStats;
        pub safe fn apf_core() -> u32;
        pub safe fn apf_tsc_mhz() -> u32;
        pub safe fn apf_physical(virtual_address: u64) -> u64;
        pub fn sys_spawn2(
            entry: extern "C" fn(usize),
            argument: usize,
            priority: u8,
            stack_size: usize,
            core: isize,
        ) -> i32;
        pub safe fn sys_join(task: i32) -> i32;
        pub safe fn sys_yield();
        pub fn sys_futex_wait(word: *mut u32, expected: u32, timeout: *const (), flags: u32) -> i32;
        pub fn sys_futex_wake(word: *mut u32, count: i32) -> i32;
        pub safe fn sys_get_processor_count() -> usize;
    }
}

/// A task of the kernel.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_os = "hermit"), expect(dead_code, reason = "only Hermit has tasks to join"))]
pub struct TaskId(i32);

#[cfg(target_os = "hermit")]
mod calls {
    use super::*;

    pub fn arm(waits: Waits, halt_below_us: u64, record: usize) -> Result<(), ArmError> {
        ArmError::decode(hermit::apf_arm(waits as u32, halt_below_us, record))
    }

    pub fn recorded(core: CoreId, buffer: &mut [Fault]) -> usize {
        // SAFETY: the buffer holds as many faults as it is long.
        unsafe { hermit::apf_recorded(core.0.into(), buffer.as_mut_ptr(), buffer.len()) }
    }

    pub fn disarm() -> Result<(), ArmError> {
        ArmError::decode(hermit::apf_disarm())
    }

    pub fn events(buffer: &mut [Event]) -> usize {
        // SAFETY: the buffer holds as many events as it is long.
        unsafe { hermit::apf_events(buffer.as_mut_ptr(), buffer.len()) }
    }

    pub fn work() -> u32 {
        hermit::apf_work()
    }

    pub fn sleep(seen: u32, limit: Option<Duration>) {
        let micros = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        hermit::apf_sleep(seen, micros);
    }

    pub fn now() -> Tsc {
        // SAFETY: every x86-64 processor has a time-stamp counter, and KVM lets
        // guests read it.
        Tsc(unsafe { core::arch::x86_64::_rdtsc() })
    }

    pub fn wake_service() {
        hermit::apf_wake_service();
    }

    pub fn release(core: CoreId, ticket: Ticket, ready: Tsc) {
        hermit::apf_release(core.0.into(), ticket, ready);
    }

    pub fn waits(core: CoreId, ticket: Ticket) -> bool {
        hermit::apf_waits(core.0.into(), ticket)
    }

    pub fn allow_hand_off(allow: bool) {
        hermit::apf_allow_hand_off(allow);
    }

    pub fn guard_enter() {
        hermit::apf_guard_enter();
    }

    pub fn guard_exit() {
        hermit::apf_guard_exit();
    }

    pub fn core_stats(core: CoreId) -> Option<&'static CoreStats> {
        // SAFETY: null, or a static of the archive; `CoreStats` has a C layout
        // and only atomics in it.
        unsafe { hermit::apf_core_stats(core.0.into()).as_ref() }
    }

    pub fn core() -> CoreId {
        CoreId(hermit::apf_core() as u16)
    }

    pub fn tsc_mhz() -> u32 {
        hermit::apf_tsc_mhz()
    }

    pub fn physical(virtual_address: u64) -> Option<u64> {
        Some(hermit::apf_physical(virtual_address)).filter(|&address| address != u64::MAX)
    }

    pub fn spawn(
        entry: extern "C" fn(usize),
        priority: u8,
        stack_size: usize,
        core: CoreId,
    ) -> Option<TaskId> {
        // SAFETY: the entry takes any argument.
        let id = unsafe { hermit::sys_spawn2(entry, 0, priority, stack_size, core.0 as isize) };
        (id >= 0).then_some(TaskId(id))
    }

    /// Blocks while `*word == expected`.
    pub fn futex_wait(word: &AtomicU32, expected: u32) {
        // SAFETY: the word is valid for reads; no time limit is given.
        unsafe { hermit::sys_futex_wait(word.as_ptr(), expected, core::ptr::null(), 0) };
    }

    /// Wakes the task that waits on `word`.
    pub fn futex_wake(word: &AtomicU32) {
        // SAFETY: used only for its address.
        unsafe { hermit::sys_futex_wake(word.as_ptr(), 1) };
    }

    pub fn join(task: TaskId) {
        hermit::sys_join(task.0);
    }

    pub fn yield_now() {
        hermit::sys_yield();
    }

    pub fn cores() -> u16 {
        hermit::sys_get_processor_count() as u16
    }
}

/// Nothing calls most of these off Hermit, where [`arm`] fails.
#[cfg(not(target_os = "hermit"))]
#[allow(dead_code, reason = "the same names as on Hermit")]
mod calls {
    use super::*;

    pub fn arm(_waits: Waits, _halt_below_us: u64, _record: usize) -> Result<(), ArmError> {
        Err(ArmError::NotKvm)
    }

    pub fn recorded(_core: CoreId, _buffer: &mut [Fault]) -> usize {
        0
    }

    pub fn disarm() -> Result<(), ArmError> {
        Err(ArmError::NotArmed)
    }

    pub fn events(_buffer: &mut [Event]) -> usize {
        0
    }

    pub fn work() -> u32 {
        0
    }

    pub fn sleep(_seen: u32, _limit: Option<Duration>) {}

    pub fn now() -> Tsc {
        Tsc(0)
    }

    pub fn wake_service() {}

    pub fn release(_core: CoreId, _ticket: Ticket, _ready: Tsc) {}

    pub fn waits(_core: CoreId, _ticket: Ticket) -> bool {
        false
    }

    pub fn allow_hand_off(_allow: bool) {}

    pub fn guard_enter() {}

    pub fn guard_exit() {}

    pub fn core_stats(_core: CoreId) -> Option<&'static CoreStats> {
        None
    }

    pub fn core() -> CoreId {
        CoreId(0)
    }

    pub fn tsc_mhz() -> u32 {
        1
    }

    pub fn physical(_virtual_address: u64) -> Option<u64> {
        None
    }

    pub fn spawn(
        _entry: extern "C" fn(usize),
        _priority: u8,
        _stack_size: usize,
        _core: CoreId,
    ) -> Option<TaskId> {
        None
    }

    pub fn futex_wait(_word: &AtomicU32, _expected: u32) {}

    pub fn futex_wake(_word: &AtomicU32) {}

    pub fn join(_task: TaskId) {}

    pub fn yield_now() {}

    pub fn cores() -> u16 {
        1
    }
}

pub use calls::*;
