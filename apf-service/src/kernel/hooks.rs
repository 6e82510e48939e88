//! What the kernel provides to interrupt context and to waiters.
//!
//! Defined in the kernel's own source (`images/kernel/apf.rs`), where its
//! private parts can be reached, and bound by the linker within the archive.
//! Unlike the kernel's `sys_*` calls, these neither switch stacks nor enable
//! interrupts.

use core::sync::atomic::AtomicU64;

use crate::classify::Task;

unsafe extern "Rust" {
    /// This core's number.
    pub fn apf_hook_core() -> u32;
    /// The running task. The caller has made sure that no kernel code was interrupted.
    pub fn apf_hook_task() -> Task;
    /// The running task's handle, for [`apf_hook_wake`]; never 0.
    pub fn apf_hook_handle() -> u64;
    /// Marks the running task as blocked, at most for `limit_us` microseconds; it runs
    /// on until the next [`apf_hook_reschedule`]. Task context, interrupts off.
    pub fn apf_hook_block(limit_us: Option<u64>);
    /// Wakes a task, wherever it is; nothing happens if it is not blocked. Callable
    /// with interrupts off.
    pub fn apf_hook_wake(handle: u64);
    /// Interrupts another core, which lets its scheduler look for work.
    /// Callable with interrupts off.
    pub fn apf_hook_interrupt(core: u32);
    /// Lets the scheduler choose a task. Callable at the end of an interrupt.
    pub fn apf_hook_reschedule();
    /// Raises the running task's priority to that of a task just woken, and
    /// returns what it was.
    pub fn apf_hook_boost() -> u8;
    /// Sets the running task's priority.
    pub fn apf_hook_set_priority(priority: u8);
    /// Changes the running task's count of `NonPreemptible` guards; returns the new count.
    pub fn apf_hook_critical(change: i32) -> u32;
    /// Counts the interrupt, and ends it at the local APIC unless its end is `told` already.
    pub fn apf_hook_end_of_interrupt(vector: u8, told: bool);
    /// Points the #PF gate and `vector`'s gate at the given entries. The #PF
    /// handler that was there is stored to `previous` before its gate changes.
    /// Returns `false`, and does nothing, if `vector` is in use.
    pub fn apf_hook_install(page_fault: u64, vector: u8, ready: u64, previous: &AtomicU64) -> bool;
    /// Guest-physical address of a kernel object.
    pub fn apf_hook_physical(virtual_address: u64) -> Option<u64>;
    /// The time-stamp counter's frequency.
    pub fn apf_hook_tsc_mhz() -> u32;
    /// "async PF set up for core n" and its opposite.
    pub fn apf_hook_log_armed(core: u32, armed: bool);
    /// The host injected with interrupts off. There is no way on.
    pub fn apf_hook_broken_host(token: u32, rip: u64) -> !;
}
