//! What the interrupt entries call. Interrupts are off throughout.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::cores::{this_core, this_vcpu, vcpus};
use crate::processor::now;
use crate::wait_entry::{PageFaultFrame, redirect};
use crate::{VECTOR, futex, hooks, wait};
use apf_core::classify::Context;
use apf_core::event::CoreId;
use apf_core::protocol::msr;
use apf_core::sleeper::Sleeper;
use apf_core::slots::Slot;
use apf_core::vcpu::{Machine, PageFault, VCpu, Work};

/// Counts the occasions on which the service thread has something to do; it
/// sleeps on this word.
pub static SERVICE_WORK: AtomicU32 = AtomicU32::new(0);
/// The service thread, while it sleeps.
pub static SERVICE: Sleeper = Sleeper::nobody();

const INTERRUPT_FLAG: u64 = 1 << 9;

/// The machine around the core this runs on.
pub struct ThisMachine;

impl Machine for ThisMachine {
    /// All cores that have ever been armed, but for this one.
    fn others(&self) -> impl Iterator<Item = &VCpu> {
        let this = this_core();
        vcpus().filter(move |&(core, _)| core != this).map(|(_, vcpu)| vcpu)
    }

    fn interrupt(&self, core: CoreId) {
        // SAFETY: a hook that may be called with interrupts off.
        unsafe { hooks::apf_hook_interrupt(core.0.into()) };
    }

    fn wake(&self, slot: &Slot) -> bool {
        futex::wake(slot.sleeper())
    }
}

/// Handles a #PF; `false` if it is not an async one.
///
/// CR2 is taken first, before anything here could fault.
pub extern "C" fn on_page_fault(frame: &mut PageFaultFrame) -> bool {
    // SAFETY: reading CR2 in CPL 0 has no effect.
    let cr2 = unsafe { x86::controlregs::cr2() };
    let Some(vcpu) = this_vcpu() else { return false };
    let context =
        Context { rip: frame.rip, rsp: frame.rsp, interrupts_enabled: frame.rflags & INTERRUPT_FLAG != 0 };
    // SAFETY: the task is asked for only when no kernel code was interrupted.
    let task = || unsafe { hooks::apf_hook_task() };
    match vcpu.page_fault(cr2 as u64, context, &kernel_text(), task, &ThisMachine, now()) {
        PageFault::NotOurs => return false,
        PageFault::Return(work) => {
            if work == Work::Service {
                wake_up_service();
            }
            if work != Work::Nothing && context.interrupts_enabled {
                // SAFETY: a hook, called once at the end of what is an
                // interrupt in all but name.
                unsafe { hooks::apf_hook_reschedule() };
            }
        }
        PageFault::Wait(ticket, kind) => redirect(frame, wait::argument(ticket, kind)),
        // SAFETY: a hook that does not return.
        PageFault::BrokenHost(token) => unsafe { hooks::apf_hook_broken_host(token.0, frame.rip) },
    }
    true
}

/// Handles the ready interrupt.
///
/// Its end is told first: an acknowledgement is an exit, and there the host takes back
/// its leave to tell it without one. Nothing comes between, interrupts are off.
pub extern "C" fn on_ready() {
    let vcpu = this_vcpu();
    let told = vcpu.is_some_and(|vcpu| vcpu.end_of_interrupt.tell());
    // SAFETY: a hook, called once in the interrupt.
    unsafe { hooks::apf_hook_end_of_interrupt(VECTOR, told) };
    // SAFETY: the MSR exists, or this core could not have been armed.
    let acknowledge = || unsafe { x86::msr::wrmsr(msr::ASYNC_PF_ACK, 1) };
    let work = vcpu.map_or(Work::Nothing, |vcpu| vcpu.drain(&ThisMachine, now, acknowledge));
    if work == Work::Service {
        wake_up_service();
    }
    if work != Work::Nothing {
        // SAFETY: a hook, called once at the end of the interrupt.
        unsafe { hooks::apf_hook_reschedule() };
    }
}

/// Makes the service thread look at the queues.
pub fn wake_up_service() {
    SERVICE_WORK.fetch_add(1, Ordering::Release);
    futex::wake(&SERVICE);
}

/// The addresses of the kernel archive's code, its copies of `core`, `alloc`
/// and `memcpy` included: the archive is linked into one object with one text
/// section, and the linker makes these symbols for it.
fn kernel_text() -> Range<u64> {
    unsafe extern "C" {
        static __start_hermit_kernel_text: u8;
        static __stop_hermit_kernel_text: u8;
    }
    (&raw const __start_hermit_kernel_text) as u64..(&raw const __stop_hermit_kernel_text) as u64
}
