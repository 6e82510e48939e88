//! Handlers of both interrupts. Interrupts are off throughout.

use apf_core::classify::Context;
use apf_core::outcome::{PageFault, Work};

use crate::cores;
use crate::machine::ThisMachine;
use crate::wait_entry::{PageFaultFrame, redirect};
use crate::{VECTOR, hooks, wait};

const INTERRUPT_FLAG: u64 = 1 << 9;

/// Handles a #PF; `false` if it is not an async one.
///
/// CR2 is taken first, before anything here could fault.
pub extern "C" fn on_page_fault(frame: &mut PageFaultFrame) -> bool {
    // SAFETY: reading CR2 in CPL 0 has no effect.
    let cr2 = unsafe { x86::controlregs::cr2() };
    let Some(core) = cores::this() else { return false };
    let context =
        Context { rip: frame.rip, rsp: frame.rsp, interrupts_enabled: frame.rflags & INTERRUPT_FLAG != 0 };
    match core.page_fault(cr2 as u64, context, &ThisMachine) {
        PageFault::NotOurs => return false,
        PageFault::Return(work) => {
            if work == Work::Reschedule && context.interrupts_enabled {
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
/// Its end is signalled first: an acknowledgement is an exit, and there the host takes back
/// its permission to do so without one. Nothing comes between, interrupts are off.
pub extern "C" fn on_ready() {
    let core = cores::this();
    let signalled = core.is_some_and(|core| core.host.end_of_interrupt.signal());
    // SAFETY: a hook, called once in the interrupt.
    unsafe { hooks::apf_hook_end_of_interrupt(VECTOR, signalled) };
    if core.is_some_and(|core| core.drain(&ThisMachine) == Work::Reschedule) {
        // SAFETY: a hook, called once at the end of the interrupt.
        unsafe { hooks::apf_hook_reschedule() };
    }
}
