//! The machine, as the logic needs it.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use apf_core::classify::Task;
use apf_core::early_ready::EarlyCount;
use apf_core::event::CoreId;
use apf_core::per_core::{Core, Machine};
use apf_core::protocol::msr;
use apf_core::sleeper::Sleeper;
use apf_core::slot::Slot;
use apf_core::time::Tsc;

use crate::{cores, futex, hooks, processor};

/// Count of events for the service thread, which sleeps on this word.
pub static SERVICE_WORK: AtomicU32 = AtomicU32::new(0);
/// The service thread, while it sleeps.
pub static SERVICE: Sleeper = Sleeper::nobody();

static EARLY: EarlyCount = EarlyCount::new();

/// The machine around the core this runs on.
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn now(&self) -> Tsc {
        processor::now()
    }

    /// Returns the addresses of the kernel archive's code, its copies of `core`, `alloc`
    /// and `memcpy` included: the archive is linked into one object with one text
    /// section, and the linker makes these symbols for it.
    fn kernel_text(&self) -> Range<u64> {
        unsafe extern "C" {
            static __start_hermit_kernel_text: u8;
            static __stop_hermit_kernel_text: u8;
        }
        (&raw const __start_hermit_kernel_text) as u64..(&raw const __stop_hermit_kernel_text) as u64
    }

    fn task(&self) -> Task {
        // SAFETY: the logic asks only when no kernel code was interrupted.
        unsafe { hooks::apf_hook_task() }
    }

    fn cores(&self) -> impl Iterator<Item = &Core> {
        cores::all()
    }

    fn early(&self) -> &EarlyCount {
        &EARLY
    }

    fn has_work(&self, core: CoreId) -> bool {
        if usize::from(core.0) == cores::this_id() {
            // SAFETY: a hook in task context; an interrupt would switch tasks under it.
            !processor::without_interrupts(|| unsafe { hooks::apf_hook_task() }).is_alone
        } else {
            cores::get(core.0.into()).is_none_or(Core::has_work)
        }
    }

    fn interrupt(&self, core: CoreId) {
        // SAFETY: a hook that may be called with interrupts off.
        unsafe { hooks::apf_hook_interrupt(core.0.into()) };
    }

    fn wake(&self, slot: &Slot) -> bool {
        futex::wake(slot.sleeper())
    }

    fn call_service(&self) {
        SERVICE_WORK.fetch_add(1, Ordering::Release);
        futex::wake(&SERVICE);
    }

    fn acknowledge(&self) {
        // SAFETY: the MSR exists, or this core could not have been armed.
        unsafe { x86::msr::wrmsr(msr::ASYNC_PF_ACK, 1) };
    }
}
