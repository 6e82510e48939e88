//! The functions that the program may call ([`abi`](apf_core::abi)).

use core::sync::atomic::Ordering;

use apf_core::abi::{self, ArmError, BATCH, Exports};
use apf_core::classify::Waits;
use apf_core::event::Event;
use apf_core::record::Fault;
use apf_core::slots::{Released, Ticket};
use apf_core::stats::CoreStats;
use apf_core::time::Tsc;
use apf_core::vcpu::oldest_event;

use crate::cores::{this_core, vcpu, vcpus};
use crate::hold::switch_if_withheld;
use crate::processor::now;
use crate::{arm, fault, futex, hooks, record};

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

    fn apf_arm(waits: u32, halt_below_us: u64, record: usize) -> i32 {
        let halt_below = halt_below_us.saturating_mul(Self::apf_tsc_mhz().into());
        ArmError::encode(arm::arm(Waits::decode(waits), halt_below, record))
    }

    fn apf_disarm() -> i32 {
        ArmError::encode(arm::disarm())
    }

    fn apf_recorded(core: u32, fault: &mut Fault) -> bool {
        record::take(core as usize).map(|recorded| *fault = recorded).is_some()
    }

    fn apf_events(events: &mut [Event; BATCH]) -> usize {
        let all = core::iter::from_fn(|| oldest_event(vcpus().map(|(_, vcpu)| vcpu)));
        events.iter_mut().zip(all).map(|(place, event)| *place = event).count()
    }

    fn apf_work() -> u32 {
        fault::SERVICE_WORK.load(Ordering::Acquire)
    }

    fn apf_sleep(seen: u32, limit_us: u64) {
        let limit = (limit_us != u64::MAX).then_some(limit_us);
        futex::wait(&fault::SERVICE, &fault::SERVICE_WORK, seen, limit);
    }

    fn apf_wake_service() {
        fault::wake_up_service();
    }

    fn apf_release(core: u32, ticket: Ticket, ready: Tsc) {
        let Some(vcpu) = vcpu(core as usize) else { return };
        if vcpu.release(ticket, ready, now()) == Released::Scheduled {
            futex::wake(vcpu.slots.get(ticket).sleeper());
        }
    }

    fn apf_waits(core: u32, ticket: Ticket) -> bool {
        vcpu(core as usize).is_some_and(|vcpu| vcpu.slots.is_scheduled(ticket))
    }

    fn apf_allow_hand_off(allow: bool) {
        vcpus().for_each(|(_, vcpu)| vcpu.allow_hand_off(allow));
    }

    fn apf_guard_enter() {
        // SAFETY: a hook in task context.
        unsafe { hooks::apf_hook_critical(1) };
    }

    fn apf_guard_exit() {
        // SAFETY: a hook in task context.
        if unsafe { hooks::apf_hook_critical(-1) } == 0 {
            switch_if_withheld();
        }
    }

    fn apf_core() -> u32 {
        this_core() as u32
    }

    fn apf_core_stats(core: u32) -> Option<&'static CoreStats> {
        vcpu(core as usize).map(|vcpu| &vcpu.stats)
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
