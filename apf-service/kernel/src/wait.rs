//! Waiting, on the interrupted stack and with interrupts on.
//!
//! Here nested faults and interrupts are ordinary: this is kernel text, so a
//! fault in it waits by halt on the same stack.

use crate::hold::switch_if_withheld;
use crate::processor::{
    disable_interrupts, enable_interrupts, enable_interrupts_and_halt, now, without_interrupts,
};
use crate::record::{LOG, RECORD};
use crate::{cores, futex, hooks};
use apf_core::classify::Wait;
use apf_core::slot::{Slot, Ticket};

const HALT: u64 = 1 << 32;

/// Encodes the argument that the #PF handler passes on the stack to [`wait`].
pub fn argument(ticket: Ticket, kind: Wait) -> u64 {
    u64::from(ticket.0) | if kind == Wait::Halt { HALT } else { 0 }
}

/// Waits until the page of the ticket in `argument` is back.
pub extern "C" fn wait(argument: u64) {
    let ticket = Ticket(argument as u32);
    let kind = if argument & HALT != 0 { Wait::Halt } else { Wait::Schedule };
    let Some(core) = cores::this() else { return };
    let slot = core.slots.get(ticket);
    slot.park(now());
    match kind {
        Wait::Schedule => schedule(slot, ticket),
        Wait::Halt => {
            core.start_halting();
            halt(slot, ticket);
            core.stop_halting();
        }
    }
    without_interrupts(|| {
        let fault = core.resumed(ticket, kind, now());
        RECORD.keep(fault);
        LOG.keep(fault);
    });
    if kind == Wait::Halt && !core.is_halting() {
        switch_if_withheld();
    }
}

/// Blocks the task on its futex; other tasks run.
///
/// ```text
///   waiter                              ready interrupt, or service thread
///   futex::wait                         word: waiting → ready
///     word == waiting?  no: return      futex::wake
///                       yes: block
/// ```
///
/// No wake-up is lost in between ([`sleeper`](apf_core::sleeper)). The task continues with
/// the priority of one just woken: in a kernel without time slices it would otherwise wait
/// until a computing task of its own priority yields (docs/adr/0003-wake-up-boost.md).
fn schedule(slot: &Slot, ticket: Ticket) {
    if slot.is_ready(ticket) {
        return;
    }
    // SAFETY: hooks in task context; `classify` saw application code with
    // preemption enabled, so this task may block.
    unsafe {
        let priority = hooks::apf_hook_boost();
        while !slot.is_ready(ticket) {
            futex::wait(slot.sleeper(), slot.word(), Slot::waiting_value(ticket), None);
        }
        hooks::apf_hook_set_priority(priority);
    }
}

/// Halts the core until the ready interrupt has set the word.
///
/// ```text
///   waiter                    ready interrupt (this core)
///   cli
///   word ready? no
///   sti; hlt  ◄── the interrupt shadow of `sti` covers the `hlt`: the
///                 interrupt comes before the check or wakes the halt
///   word ready? yes
/// ```
fn halt(slot: &Slot, ticket: Ticket) {
    loop {
        disable_interrupts();
        if slot.is_ready(ticket) {
            break enable_interrupts();
        }
        enable_interrupts_and_halt();
    }
}
