//! Waiting, on the interrupted stack and with interrupts on.
//!
//! Here nested faults and interrupts are ordinary: this is kernel text, so a
//! fault in it waits by halt on the same stack.

use crate::hold::switch_if_withheld;
use crate::machine::ThisMachine;
use crate::processor::{disable_interrupts, enable_interrupts, enable_interrupts_and_halt, now};
use crate::record::{LOG, RECORD};
use crate::{cores, futex, hooks, timer};
use apf_core::classify::Wait;
use apf_core::outcome::PastLimit;
use apf_core::per_core::Core;
use apf_core::slot::{Slot, Ticket};
use apf_core::time::Tsc;

const HALT: u64 = 1 << 32;
const FIRST: u64 = 1 << 33;

/// Encodes the argument that the #PF handler passes on the stack to [`wait`].
pub fn argument(ticket: Ticket, kind: Wait) -> u64 {
    let kind = match kind {
        Wait::Schedule => 0,
        Wait::Halt => HALT,
        Wait::HaltFirst => HALT | FIRST,
    };
    u64::from(ticket.0) | kind
}

/// Waits until the page of the ticket in `argument` is back.
pub extern "C" fn wait(argument: u64) {
    let ticket = Ticket(argument as u32);
    let Some(core) = cores::this() else { return };
    if argument & HALT == 0 {
        core.slots.get(ticket).park(now());
        wait_by_schedule(core, ticket);
    } else {
        wait_by_halt(core, ticket, if argument & FIRST == 0 { Wait::Halt } else { Wait::HaltFirst });
    }
}

fn wait_by_schedule(core: &Core, ticket: Ticket) {
    schedule(core.slots.get(ticket), ticket);
    disable_interrupts();
    resume(core, ticket, Wait::Schedule, now());
}

fn wait_by_halt(core: &Core, ticket: Ticket, kind: Wait) {
    disable_interrupts();
    let parked = now();
    core.slots.get(ticket).park(parked);
    core.start_halting(parked);
    let past_limit = halt(core, ticket, kind, parked);
    let now = now();
    core.stop_halting(now);
    if past_limit == PastLimit::Schedule {
        core.start_schedule_wait(now);
        enable_interrupts();
        // Whoever became ready meanwhile has waited long enough.
        switch_if_withheld(core.id);
        return wait_by_schedule(core, ticket);
    }
    resume(core, ticket, kind, now);
    if !core.is_halting() {
        switch_if_withheld(core.id);
    }
}

/// Ends a wait, and enables interrupts. Inlined for each kind of wait: it is on the path of every fault.
#[inline(always)]
fn resume(core: &Core, ticket: Ticket, kind: Wait, now: Tsc) {
    let fault = core.resumed(ticket, kind, now);
    RECORD.keep(&fault);
    LOG.keep(&fault);
    enable_interrupts();
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

/// Halts the core until the ready interrupt has set the word, or the limit of the halt
/// is over. Interrupts are off before and after.
///
/// ```text
///   waiter                       ready interrupt (this core)
///   word ready? no
///   timer set for the limit?
///   sti; hlt  ◄── the interrupt shadow of `sti` covers the `hlt`: the
///                 interrupt comes before the check or wakes the halt
///   cli
///   word ready? yes
/// ```
///
/// Each interrupt may set the timer anew, so that is looked at again. A timer that was set
/// for a time before the limit interrupts the halt, and then it is set for the limit.
fn halt(core: &Core, ticket: Ticket, kind: Wait, parked: Tsc) -> PastLimit {
    let slot = core.slots.get(ticket);
    let deadline = parked.after(core.halt_limit(kind));
    while !slot.is_ready(ticket) {
        if timer::wake_by(core.id, deadline) {
            enable_interrupts_and_halt();
            disable_interrupts();
        } else if core.halt_past_limit(ticket, kind, &ThisMachine) == PastLimit::Schedule {
            return PastLimit::Schedule;
        }
    }
    PastLimit::Over
}
