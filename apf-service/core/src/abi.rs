//! The functions between program, kernel archive and kernel.
//!
//! ```text
//!   program                 archive: apf-kernel              Hermit kernel
//!   apf-service  ── for_each_export! ──►   ── for_each_hook! ──►  apf.rs
//! ```
//!
//! Each list is defined once, here. Caller and definition are both generated from it, so
//! that a difference between them does not compile. Program and archive are compiled
//! separately, for two targets: shared types have a C layout, and [`VERSION`] names list
//! and layouts.
//!
//! The exports run on the caller's stack and are kernel text: a fault in them waits
//! by halt. The hooks neither switch stacks nor enable interrupts, unlike the
//! kernel's `sys_*` calls.
#![forbid(unsafe_code)]

/// Version of [`for_each_export`](crate::for_each_export) and of the layouts of what
/// crosses. Raise it with every change of either; a test fails that has both.
pub const VERSION: u32 = 8;

/// Calls `$callback! { [$extra] … }` with the functions that the archive exports to
/// the program. `absent` is the result where there is no archive, off Hermit.
#[macro_export]
macro_rules! for_each_export {
    ($($callback:ident)::+ [$($extra:tt)*]) => {
        $($callback)::+! {
            [$($extra)*]
            /// Returns the archive's [`VERSION`]($crate::abi::VERSION).
            fn apf_version() -> u32, absent $crate::abi::VERSION;
            /// Arms the core this runs on, for [`Waits::decode`]($crate::classify::Waits)
            /// of `waits` with its limit and that of any halt in microseconds ([`u64::MAX`] is
            /// for ever), to record up to `record` faults; see [`ArmError::decode`]($crate::abi::ArmError::decode).
            fn apf_arm(waits: u32, halt_below_us: u64, overdue_us: u64, record: usize) -> i32,
                absent $crate::abi::ArmError::NotKvm as i32;
            /// Disarms the core this runs on and releases its waiters.
            fn apf_disarm() -> i32, absent $crate::abi::ArmError::NotArmed as i32;
            /// Compares the registers of the core this runs on with what it was armed for, as a host
            /// that restored the guest may have lost them. Then the core is armed again, or if
            /// that fails disarmed, and its waiters are released.
            fn apf_check() -> i32, absent $crate::abi::ArmError::NotArmed as i32;
            /// Moves the oldest recorded fault of `core` to `fault`; `false` if there is none.
            fn apf_recorded(core: u32, fault: &mut $crate::record::Fault) -> bool, absent false;
            /// Keeps from now on up to `capacity` finished faults of each core for the log,
            /// until `apf_logged` takes them; none if that is 0. Allocates.
            fn apf_log(capacity: usize), absent ();
            /// Moves the oldest fault of `core` that was kept for the log to `fault`; `false`
            /// if there is none.
            fn apf_logged(core: u32, fault: &mut $crate::record::Fault) -> bool, absent false;
            /// Does the service thread's work: decides about the events of all cores, and
            /// retries waits by schedule that are overdue. Returns the number of reports.
            fn apf_serve(
                retries: $crate::watchdog::Retries,
                reports: &mut [$crate::report::Report; $crate::report::BATCH]
            ) -> usize, absent 0;
            /// Returns how often there was work for the service thread, to be given to `apf_sleep`.
            fn apf_work() -> u32, absent 0;
            /// Blocks until there is more work than `seen`, or `limit_us` microseconds
            /// have gone by; [`u64::MAX`] is for ever.
            fn apf_sleep(seen: u32, limit_us: u64), absent ();
            /// Makes the service thread look, as if there were work.
            fn apf_wake_service(), absent ();
            /// Keeps the running task from being switched away from, until `apf_guard_exit`.
            fn apf_guard_enter(), absent ();
            /// Ends one `apf_guard_enter`.
            fn apf_guard_exit(), absent ();
            /// Returns the number of the core this runs on.
            fn apf_core() -> u32, absent 0;
            /// Returns the counts of `core`; nothing if it was never armed.
            fn apf_core_stats(core: u32) -> Option<&'static $crate::stats::CoreStats>, absent None;
            /// Returns the guest-physical address of `virtual_address`; [`u64::MAX`] if
            /// nothing is mapped there.
            fn apf_physical(virtual_address: u64) -> u64, absent u64::MAX;
            /// Returns the time-stamp counter's frequency in MHz.
            fn apf_tsc_mhz() -> u32, absent 1;
        }
    };
}

/// Calls `$callback! { [$extra] … }` with the hooks: the functions that the Hermit kernel
/// provides to `apf-kernel`.
#[macro_export]
macro_rules! for_each_hook {
    ($($callback:ident)::+ [$($extra:tt)*]) => {
        $($callback)::+! {
            [$($extra)*]
            /// Returns this core's number.
            fn apf_hook_core() -> u32;
            /// Returns the running task. The caller has made sure that no kernel code was interrupted.
            fn apf_hook_task() -> $crate::classify::Task;
            /// Returns the running task's handle, for `apf_hook_wake`; never 0.
            fn apf_hook_handle() -> u64;
            /// Marks the running task as blocked, at most for `limit_us` microseconds; it runs
            /// on until the next `apf_hook_reschedule`. Task context, interrupts off.
            fn apf_hook_block(limit_us: Option<u64>);
            /// Wakes a task, wherever it is; nothing happens if it is not blocked. Callable
            /// with interrupts off.
            fn apf_hook_wake(handle: u64);
            /// Interrupts another core, which lets its scheduler look for work.
            /// Callable with interrupts off.
            fn apf_hook_interrupt(core: u32);
            /// Makes the local timer interrupt this core at `deadline` cycles, or just before;
            /// `false`, and nothing changes, if that is over. The timer was set for a later
            /// time, or off; the kernel sets it for that again. Interrupts off.
            fn apf_hook_wake_by(deadline: u64) -> bool;
            /// Lets the scheduler choose a task. Callable at the end of an interrupt.
            fn apf_hook_reschedule();
            /// Raises the running task's priority to that of a task just woken, and
            /// returns its priority from before.
            fn apf_hook_boost() -> u8;
            /// Sets the running task's priority.
            fn apf_hook_set_priority(priority: u8);
            /// Changes the running task's count of `NonPreemptible` guards; returns the new count.
            fn apf_hook_critical(change: i32) -> u32;
            /// Counts the interrupt, and ends it at the local APIC unless its end is `signalled` already.
            fn apf_hook_end_of_interrupt(vector: u8, signalled: bool);
            /// Points the gates of #PF, #GP and `vector` at the given entries. The handler of
            /// an exception that was there is stored beside its entry before the gate changes.
            /// Returns `false`, and does nothing, if `vector` is in use.
            fn apf_hook_install(
                page_fault: (u64, &core::sync::atomic::AtomicU64),
                general_protection: (u64, &core::sync::atomic::AtomicU64),
                vector: u8,
                ready: u64
            ) -> bool;
            /// Returns the guest-physical address of a kernel object.
            fn apf_hook_physical(virtual_address: u64) -> Option<u64>;
            /// Returns the time-stamp counter's frequency in MHz.
            fn apf_hook_tsc_mhz() -> u32;
            /// Logs "async PF set up for core n" or its opposite.
            fn apf_hook_log_armed(core: u32, armed: bool);
            /// Ends the guest: the host injected with interrupts off.
            fn apf_hook_broken_host(token: u32, rip: u64) -> !;
        }
    };
}

macro_rules! exports_trait {
    ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?, absent $absent:expr;)*) => {
        /// The functions that the archive exports to the program.
        pub trait Exports {
            $($(#[$doc])* fn $name($($arg: $type),*) $(-> $ret)?;)*
        }
    };
}
for_each_export!(exports_trait []);

macro_rules! hooks_trait {
    ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        /// The functions that the Hermit kernel provides to `apf-kernel`.
        pub trait Hooks {
            $($(#[$doc])* fn $name($($arg: $type),*) $(-> $ret)?;)*
        }
    };
}
for_each_hook!(hooks_trait []);

/// Reason why a core could not be armed or disarmed. Crosses the boundary as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(i32)]
pub enum ArmError {
    /// See the message.
    #[error(
        "the hypervisor is not KVM: only KVM delivers async page faults; the host will stop the core at a fault"
    )]
    NotKvm = 1,
    /// See the message.
    #[error(
        "this KVM does not offer async page faults (CPUID 0x40000001 EAX bit 4): check the VMM's CPU model, for QEMU `-cpu host`"
    )]
    NoAsyncPf = 2,
    /// See the message.
    #[error(
        "this KVM cannot report readiness by interrupt (CPUID 0x40000001 EAX bit 14): use Linux 5.8 or newer on the host"
    )]
    NoReadyInterrupt = 3,
    /// See the message.
    #[error(
        "the local APIC is off, so no ready interrupt could arrive: enable it in the VMM (in-kernel irqchip)"
    )]
    NoLocalApic = 4,
    /// See the message.
    #[error(
        "the interrupt vector 0xf3 is in use by another driver: free it, or build the kernel with another VECTOR"
    )]
    VectorInUse = 5,
    /// See the message.
    #[error("async page faults are on already on this core: stop the running service first")]
    AlreadyArmed = 6,
    /// See the message.
    #[error("async page faults are not on on this core: arm it first")]
    NotArmed = 7,
    /// See the message.
    #[error("more cores than the service has room for (64): start the VM with fewer")]
    TooManyCores = 8,
    /// See the message.
    #[error(
        "the shared area has no guest-physical address the host could use; this is a bug in the image's memory map"
    )]
    BadArea = 9,
    /// See the message.
    #[error(
        "the host offers async page faults and refuses to turn them on (MSR 0x4b564d02): give the VM an interrupt controller in the host's kernel, for QEMU without `kernel-irqchip=off`, and let the VMM filter no register of KVM"
    )]
    Refused = 10,
    /// See the message.
    #[error(
        "the host accepts that async page faults are turned on and forgets it (MSR 0x4b564d02): update the VMM, which does not pass the MSR on"
    )]
    Forgotten = 11,
}

impl ArmError {
    const ALL: [Self; 11] = [
        Self::NotKvm,
        Self::NoAsyncPf,
        Self::NoReadyInterrupt,
        Self::NoLocalApic,
        Self::VectorInUse,
        Self::AlreadyArmed,
        Self::NotArmed,
        Self::TooManyCores,
        Self::BadArea,
        Self::Refused,
        Self::Forgotten,
    ];

    /// Turns a result into the number that crosses the boundary; 0 is success.
    #[must_use]
    pub const fn encode(result: Result<(), Self>) -> i32 {
        match result {
            Ok(()) => 0,
            Err(error) => error as i32,
        }
    }

    /// Reverses [`encode`](Self::encode).
    ///
    /// # Errors
    /// The error that was encoded, [`Self::BadArea`] for an unknown number.
    pub fn decode(number: i32) -> Result<(), Self> {
        match number {
            0 => Ok(()),
            n => Err(Self::ALL.into_iter().find(|e| *e as i32 == n).unwrap_or(Self::BadArea)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::for_each_counter;
    use crate::record::Fault;
    use crate::report::Report;
    use crate::stall::{Stall, StateTime};
    use crate::stats::{CoreStats, StageHistograms};
    use crate::watchdog::Retries;
    use core::mem::offset_of;

    #[test]
    fn every_result_survives_the_boundary() {
        assert_eq!(ArmError::decode(ArmError::encode(Ok(()))), Ok(()));
        for error in ArmError::ALL {
            assert_eq!(ArmError::decode(ArmError::encode(Err(error))), Err(error));
        }
    }

    macro_rules! signatures {
        ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?, absent $absent:expr;)*) => {
            [$(stringify!(fn $name($($type),*) $(-> $ret)?)),*]
        };
    }

    macro_rules! counter_names {
        ($($(#[$doc:meta])* $kind:ident $name:ident;)*) => { [$(stringify!($name)),*] };
    }

    macro_rules! offsets {
        ($($type:ty { $($field:ident),* })*) => {
            [$(size_of::<$type>(), $(offset_of!($type, $field),)*)*]
        };
    }

    /// FNV-1a of the list's signatures and of the layouts of all types in them.
    fn fingerprint() -> u64 {
        let layouts = offsets! {
            Fault { core, halt, token, rip, fault, parked, ready, released, running }
            CoreStats { not_present, schedule, halt, stall }
            Stall { scheduled, idle, halting }
            StateTime {}
            StageHistograms { fault_to_parked, host, ready_to_service, ready_to_running, total }
            Report {}
            Retries { most, overdue, beside_work }
        };
        let signatures = for_each_export!(signatures []);
        let names = signatures.iter().chain(&for_each_counter!(counter_names)).flat_map(|name| name.bytes());
        let numbers = ArmError::ALL.map(|error| error as usize);
        let numbers = layouts.iter().chain(&numbers).flat_map(|number| (*number as u64).to_le_bytes());
        // Compilers differ in the spaces that they put between tokens.
        names
            .filter(|byte| !byte.is_ascii_whitespace())
            .chain(numbers)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn the_version_names_the_list_and_its_layouts() {
        assert_eq!(
            (VERSION, fingerprint()),
            (8, 5_817_808_309_100_798_446),
            "raise VERSION, and write down both"
        );
    }
}
