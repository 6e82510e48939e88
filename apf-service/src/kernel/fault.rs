//! What the interrupt entries call. Interrupts are off throughout.

use core::sync::atomic::{AtomicU32, Ordering};

use super::entry::{PageFaultFrame, redirect};
use super::{VECTOR, hooks, kernel_text, now, this_vcpu, wait};
use crate::classify::{Context, classify};
use crate::protocol::{Reason, Token, msr};
use crate::vcpu::{NotPresent, Ready, VCpu};

/// Counts the occasions on which the service thread has something to do; it
/// sleeps on this word.
pub static SERVICE_WORK: AtomicU32 = AtomicU32::new(0);

const INTERRUPT_FLAG: u64 = 1 << 9;

/// Handles a #PF; `false` if it is not an async one.
///
/// CR2 and the flags are taken first, before anything here could fault.
pub extern "C" fn on_page_fault(frame: &mut PageFaultFrame) -> bool {
    // SAFETY: reading CR2 in CPL 0 has no effect.
    let cr2 = unsafe { x86::controlregs::cr2() };
    let Some(vcpu) = this_vcpu() else { return false };
    match vcpu.area.take_reason() {
        Reason::Ordinary => return false,
        Reason::Unknown(_) => {
            vcpu.stats.unknown_reason.count();
            return false;
        }
        Reason::NotPresent => {}
    }
    let token = Token(cr2 as u32);
    let context =
        Context { rip: frame.rip, rsp: frame.rsp, interrupts_enabled: frame.rflags & INTERRUPT_FLAG != 0 };
    if !context.interrupts_enabled {
        // The context cannot be interrupted by the ready, so it could only
        // wait for ever. A correct host never injects here.
        // SAFETY: a hook that does not return.
        unsafe { hooks::apf_hook_broken_host(token.0, frame.rip) }
    }
    // SAFETY: `classify` asks only when no kernel code was interrupted.
    let kind = classify(context, &kernel_text(), || unsafe { hooks::apf_hook_task() });
    if let NotPresent::Wait(ticket) = vcpu.not_present(token, kind, frame.rip, now()) {
        redirect(frame, wait::argument(ticket, vcpu.slots.get(ticket).wait()));
    }
    true
}

/// Handles the ready interrupt.
pub extern "C" fn on_ready() {
    let wake_service = this_vcpu().is_some_and(|vcpu| {
        let (taken, wake_service) = drain(vcpu);
        if taken == 0 {
            vcpu.stats.spurious_interrupts.count();
        }
        wake_service
    });
    if wake_service {
        wake_up_service();
    }
    // SAFETY: hooks, called once at the end of the interrupt.
    unsafe {
        hooks::apf_hook_end_of_interrupt(VECTOR);
        if wake_service {
            hooks::apf_hook_reschedule();
        }
    }
}

/// Takes tokens until there is none: the acknowledgement makes the host store
/// the next one at once. Returns how many, and whether the service has work.
///
/// ```text
///   guest                             host (kvm_check_async_pf_completion)
///   token → read, act
///   token = 0
///   ACK ────────────────────────────► token == 0? store the next, interrupt
/// ```
///
/// With the ACK first, the host would find the old token still there, keep
/// the next one back, and not be asked again.
pub fn drain(vcpu: &VCpu) -> (u32, bool) {
    let (mut taken, mut service_has_work) = (0, false);
    loop {
        match vcpu.ready(now()) {
            Ready::Empty => return (taken, service_has_work),
            Ready::Deferred => return (taken, true),
            Ready::Taken { wake_service } => {
                taken += 1;
                service_has_work |= wake_service;
                // SAFETY: the MSR exists, or this core could not have been armed.
                unsafe { x86::msr::wrmsr(msr::ASYNC_PF_ACK, 1) };
            }
        }
    }
}

pub fn wake_up_service() {
    SERVICE_WORK.fetch_add(1, Ordering::Release);
    // SAFETY: a hook that may be called with interrupts off.
    unsafe { hooks::apf_hook_futex_wake(&SERVICE_WORK) };
}
