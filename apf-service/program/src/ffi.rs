//! Calls into the kernel archive; elsewhere than on Hermit, their absence.
//!
//! Every call is safe: what crosses are numbers and references.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use apf_core::abi::ArmError;
use apf_core::classify::Waits;
use apf_core::event::CoreId;
use apf_core::record::Fault;
use apf_core::stats::CoreStats;
use apf_core::time::Tsc;

/// Declares functions of the archive; off Hermit defines them by their `absent` result.
macro_rules! declare {
    ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?, absent $absent:expr;)*) => {
        #[cfg(target_os = "hermit")]
        // SAFETY: the archive defines its functions from the same list, the kernel's
        // own system calls are declared as it defines them, and `build.rs` links both.
        unsafe extern "C" {
            $($(#[$doc])* pub safe fn $name($($arg: $type),*) $(-> $ret)?;)*
        }
        $(
            $(#[$doc])*
            #[cfg(not(target_os = "hermit"))]
            pub extern "C" fn $name($($arg: $type),*) $(-> $ret)? {
                $(let _ = $arg;)*
                $absent
            }
        )*
    };
}

mod archive {
    apf_core::for_each_export!(declare []);
}

/// System calls of the Hermit kernel.
mod system {
    use core::sync::atomic::AtomicU32;

    declare! {
        []
        /// Starts a task on `core`; returns its number, negative if there is no memory for it.
        fn sys_spawn2(
            entry: extern "C" fn(usize),
            argument: usize,
            priority: u8,
            stack_size: usize,
            core: isize
        ) -> i32, absent -1;
        /// Waits for a task's end.
        fn sys_join(task: i32) -> i32, absent 0;
        /// Lets other tasks of the core run.
        fn sys_yield(), absent ();
        /// Blocks while `word` is `expected`; `timeout` is a `timespec`.
        fn sys_futex_wait(word: &AtomicU32, expected: u32, timeout: Option<&[u64; 2]>, flags: u32) -> i32,
            absent 0;
        /// Wakes up to `count` tasks that wait on `word`.
        fn sys_futex_wake(word: &AtomicU32, count: i32) -> i32, absent 0;
        /// Returns the number of cores.
        fn sys_get_processor_count() -> usize, absent 1;
    }
}

pub use archive::{
    apf_guard_enter as guard_enter, apf_guard_exit as guard_exit, apf_log as log, apf_serve as serve,
    apf_tsc_mhz as tsc_mhz, apf_version as version, apf_wake_service as wake_service, apf_work as work,
};
pub use system::sys_yield as yield_now;

/// Above every application task, so that a ready page costs one switch.
pub const SERVICE_PRIORITY: u8 = 30;

/// A task of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct TaskId(i32);

pub fn arm(waits: Waits, halt_below_us: u64, overdue_us: u64, record: usize) -> Result<(), ArmError> {
    ArmError::decode(archive::apf_arm(waits as u32, halt_below_us, overdue_us, record))
}

pub fn disarm() -> Result<(), ArmError> {
    ArmError::decode(archive::apf_disarm())
}

pub fn check() -> Result<(), ArmError> {
    ArmError::decode(archive::apf_check())
}

pub fn recorded(core: CoreId) -> Option<Fault> {
    let mut fault = Fault::NONE;
    archive::apf_recorded(core.0.into(), &mut fault).then_some(fault)
}

pub fn logged(core: CoreId) -> Option<Fault> {
    let mut fault = Fault::NONE;
    archive::apf_logged(core.0.into(), &mut fault).then_some(fault)
}

pub fn sleep(seen: u32, limit: Option<Duration>) {
    let micros = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
    archive::apf_sleep(seen, micros);
}

pub fn now() -> Tsc {
    // SAFETY: every x86-64 processor has a time-stamp counter, and KVM lets
    // guests read it.
    Tsc(unsafe { core::arch::x86_64::_rdtsc() })
}

pub fn core_stats(core: CoreId) -> Option<&'static CoreStats> {
    archive::apf_core_stats(core.0.into())
}

pub fn core() -> CoreId {
    CoreId(archive::apf_core() as u16)
}

pub fn physical(virtual_address: u64) -> Option<u64> {
    Some(archive::apf_physical(virtual_address)).filter(|&address| address != u64::MAX)
}

pub fn spawn(entry: extern "C" fn(usize), priority: u8, stack_size: usize, core: CoreId) -> Option<TaskId> {
    let id = system::sys_spawn2(entry, 0, priority, stack_size, core.0 as isize);
    (id >= 0).then_some(TaskId(id))
}

pub fn join(task: TaskId) {
    system::sys_join(task.0);
}

/// Blocks while `*word == expected`, at most for `limit`.
pub fn futex_wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    /// `timeout` counts from now on.
    const RELATIVE: u32 = 1;
    let timeout = limit.map(|limit| [limit.as_secs(), limit.subsec_nanos().into()]);
    system::sys_futex_wait(word, expected, timeout.as_ref(), RELATIVE);
}

/// Wakes the task that waits on `word`.
pub fn futex_wake(word: &AtomicU32) {
    system::sys_futex_wake(word, 1);
}

/// Wakes all tasks that wait on `word`.
pub fn futex_wake_all(word: &AtomicU32) {
    system::sys_futex_wake(word, i32::MAX);
}

pub fn cores() -> u16 {
    system::sys_get_processor_count() as u16
}
