//! The functions that the program may call ([`abi`](apf_core::abi)).

use core::sync::atomic::Ordering;

use apf_core::abi::{self, ArmError, Exports};
use apf_core::classify::Waits;
use apf_core::event::CoreId;
use apf_core::per_core::Machine;
use apf_core::record::Fault;
use apf_core::report::{BATCH, Report};
use apf_core::serve::{retry_overdue, serve};
use apf_core::stats::CoreStats;
use apf_core::watchdog::Retries;

use crate::hold::switch_if_withheld;
use crate::machine::{SERVICE, SERVICE_WORK, ThisMachine};
use crate::record::{LOG, RECORD};
use crate::{arm, cores, futex, hooks};

macro_rules! define {
    ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?, absent $absent:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            extern "C" fn $name($($arg: $type),*) $(-> $ret)? {
                <Archive as Exports>::$name($($arg),*)
            }
        )*
    };
}
apf_core::for_each_export!(define []);

struct Archive;

impl Exports for Archive {
    fn apf_version() -> u32 {
        abi::VERSION
    }

    fn apf_arm(waits: u32, halt_below_us: u64, overdue_us: u64, record: usize) -> i32 {
        let cycles = |micros: u64| micros.saturating_mul(Self::apf_tsc_mhz().into());
        ArmError::encode(arm::arm(Waits::decode(waits), cycles(halt_below_us), cycles(overdue_us), record))
    }

    fn apf_disarm() -> i32 {
        ArmError::encode(arm::disarm())
    }

    fn apf_check() -> i32 {
        ArmError::encode(arm::check())
    }

    fn apf_recorded(core: u32, fault: &mut Fault) -> bool {
        RECORD.take(core, fault)
    }

    fn apf_log(capacity: usize) {
        cores::all().for_each(|core| LOG.prepare(core.id.0.into(), capacity));
    }

    fn apf_logged(core: u32, fault: &mut Fault) -> bool {
        LOG.take(core, fault)
    }

    fn apf_serve(retries: Retries, reports: &mut [Report; BATCH]) -> usize {
        let decisions = core::iter::from_fn(|| serve(&ThisMachine));
        let all = decisions.chain(retry_overdue(&ThisMachine, retries));
        reports.iter_mut().zip(all).map(|(place, report)| *place = report).count()
    }

    fn apf_work() -> u32 {
        SERVICE_WORK.load(Ordering::Acquire)
    }

    fn apf_sleep(seen: u32, limit_us: u64) {
        let limit = (limit_us != u64::MAX).then_some(limit_us);
        futex::wait(&SERVICE, &SERVICE_WORK, seen, limit);
    }

    fn apf_wake_service() {
        ThisMachine.call_service();
    }

    fn apf_guard_enter() {
        // SAFETY: a hook in task context.
        unsafe { hooks::apf_hook_critical(1) };
    }

    fn apf_guard_exit() {
        // SAFETY: a hook in task context.
        if unsafe { hooks::apf_hook_critical(-1) } == 0 {
            switch_if_withheld(CoreId(Self::apf_core() as u16));
        }
    }

    fn apf_core() -> u32 {
        cores::this_id() as u32
    }

    fn apf_core_stats(core: u32) -> Option<&'static CoreStats> {
        cores::get(core as usize).map(|core| &core.stats)
    }

    fn apf_physical(virtual_address: u64) -> u64 {
        // SAFETY: a hook; it walks the page tables.
        unsafe { hooks::apf_hook_physical(virtual_address) }.unwrap_or(u64::MAX)
    }

    fn apf_tsc_mhz() -> u32 {
        // SAFETY: a hook that reads a constant.
        unsafe { hooks::apf_hook_tsc_mhz() }
    }
}
