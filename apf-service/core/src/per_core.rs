//! One core's interrupt side: what happens at a #PF and at a ready interrupt.
//!
//! Everything here runs with interrupts off on the core it belongs to, takes a bounded
//! number of steps, and neither allocates nor locks.
#![forbid(unsafe_code)]

mod page_fault;
mod ready;
mod stall;

use core::ops::Range;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed},
};

use crossbeam_queue::ArrayQueue;

use crate::classify::{Task, Wait, Waits};
use crate::early_ready::{EarlyCount, EarlyReady};
use crate::event::{CoreId, Event};
use crate::outcome::PastLimit;
use crate::own::Own;
use crate::protocol::{Area, EndOfInterrupt, OUTSTANDING_PER_VCPU};
use crate::record::Fault;
use crate::slot::{SLOTS, Slot, Stages, Ticket};
use crate::slots::Slots;
use crate::stats::CoreStats;
use crate::time::Tsc;

/// Events that a core's queue holds.
pub const QUEUE: usize = SLOTS;
/// From this many outstanding on, a core is near the host's limit.
pub const NEAR_LIMIT: u64 = 57;
const _: () = assert!(NEAR_LIMIT < OUTSTANDING_PER_VCPU as u64);

/// The service thread is called for each so many interrupts without a token: some are ordinary.
pub const MANY_EMPTY: u64 = 1024;

/// The machine around a handler, and around the service thread.
pub trait Machine {
    /// Reads the time-stamp counter.
    fn now(&self) -> Tsc;
    /// Returns the addresses of the kernel's code.
    fn kernel_text(&self) -> Range<u64>;
    /// Returns the running task. Asked only when no kernel code was interrupted.
    fn task(&self) -> Task;
    /// Returns the states of all cores.
    fn cores(&self) -> impl Iterator<Item = &Core>;
    /// Returns the number of early ready tokens of all cores.
    fn early(&self) -> &EarlyCount;
    /// Returns whether a task could run on `core` now. For the service thread, which does
    /// not count; of another core it may be outdated.
    fn has_work(&self, core: CoreId) -> bool;
    /// Interrupts `core`, so that a context that halts there looks at its word.
    fn interrupt(&self, core: CoreId);
    /// Wakes the task that sleeps on `slot`; `false` if it is not asleep; it then does not sleep.
    fn wake(&self, slot: &Slot) -> bool;
    /// Wakes the service thread.
    fn call_service(&self);
    /// Acknowledges the ready token to the host.
    fn acknowledge(&self);
}

/// Area written by the host.
#[derive(Debug, Default)]
#[repr(C)]
pub struct HostSide {
    /// Reason and token.
    pub area: Area,
    /// The word by which the end of an interrupt may be signalled.
    pub end_of_interrupt: EndOfInterrupt,
}

/// State of one core that others read and take from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) early: EarlyReady,
    pub(crate) events: ArrayQueue<Event>,
    /// An event found the queue full.
    overflowed: AtomicBool,
    /// A task could run when the scheduler last looked.
    has_work: AtomicBool,
}

/// State of one core, grouped by owner.
#[derive(Debug)]
#[repr(C)]
pub struct Core {
    /// Area written by the host.
    pub host: HostSide,
    /// Waiters: recorded by this core, released from anywhere.
    pub slots: Slots,
    /// Counts: written by this core, read from anywhere.
    pub stats: CoreStats,
    /// The core's number.
    pub id: CoreId,
    /// State accessed by this core only.
    own: Own,
    pub(crate) shared: Shared,
}

impl Core {
    /// Makes the state of a core; allocates, so this comes before arming.
    #[must_use]
    pub fn new(id: CoreId) -> Self {
        let shared = Shared {
            early: EarlyReady::default(),
            events: ArrayQueue::new(QUEUE),
            overflowed: AtomicBool::new(false),
            has_work: AtomicBool::new(true),
        };
        Self {
            host: HostSide::default(),
            slots: Slots::default(),
            stats: CoreStats::default(),
            id,
            own: Own::default(),
            shared,
        }
    }

    /// Sets which waits the program wants, before a generation starts, below which
    /// latency [`Waits::Auto`] may halt, and how long any halt may last; both in cycles,
    /// [`u64::MAX`] is for ever.
    #[inline]
    pub fn set_waits(&self, waits: Waits, halt_below: u64, overdue: u64) {
        self.own.set_waits(waits, halt_below, overdue);
    }

    /// Starts a new generation. Tokens of earlier generations no longer match. Waiters
    /// remain only if the host injected while the core was disarmed, or has lost its registers.
    /// The caller then arms the core, and the host answers with a wake-all.
    pub fn begin(&self, machine: &impl Machine) {
        self.release_everyone(machine);
        self.start_generation(machine.now());
        self.own.expect_wake_all();
        self.host.area.reset();
        self.host.end_of_interrupt.reset();
    }

    /// Ends this generation. The host has just been made to forget all outstanding faults,
    /// so it will not release the waiters.
    ///
    /// A pending token may belong to another core, so it is processed first.
    pub fn end(&self, machine: &impl Machine) {
        self.ready(machine);
        self.host.area.reset();
        self.release_everyone(machine);
    }

    /// Releases all waiters of this core; returns their number.
    fn release_everyone(&self, machine: &impl Machine) -> usize {
        self.own.forget_outstanding();
        self.slots.release_all(None, machine.now(), |slot, wait| {
            if wait == Wait::Schedule {
                machine.wake(slot);
            }
        })
    }

    fn others<'a>(&self, machine: &'a impl Machine) -> impl Iterator<Item = &'a Core> {
        let this = self.id;
        machine.cores().filter(move |core| core.id != this)
    }

    /// Returns, once, whether an event found the queue full. Called by the service thread.
    #[inline]
    pub(crate) fn take_overflow(&self) -> bool {
        // A load first: mostly there is none, and the exchange is a locked one.
        let overflowed = &self.shared.overflowed;
        overflowed.load(Relaxed) && overflowed.swap(false, Acquire)
    }

    /// Returns whether this core has work for the service thread.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.shared.events.is_empty() || self.shared.overflowed.load(Relaxed)
    }

    /// Returns how many early ready tokens are remembered here.
    pub fn early(&self) -> usize {
        self.shared.early.len()
    }

    /// Ends a wait: counts its stages, returns its slot, and reports the whole fault.
    // Inlined for each kind of wait: it is on the path of every fault.
    #[inline(always)]
    pub fn resumed(&self, ticket: Ticket, wait: Wait, now: Tsc) -> Fault {
        let (token, rip) = self.slots.get(ticket).origin();
        let stages = self.slots.finish(ticket);
        if wait == Wait::Schedule {
            self.end_schedule_wait(now);
        }
        self.stats.finished(wait, stages, now);
        self.own.learn(wait, &stages, now);
        let Stages { fault, parked, ready, released } = stages;
        let halt = wait != Wait::Schedule;
        Fault { core: self.id, halt, token, rip, fault, parked, ready, released, running: now }
    }

    /// Returns how long a wait may halt, in cycles; [`u64::MAX`] is for ever.
    #[inline]
    pub fn halt_limit(&self, wait: Wait) -> u64 {
        self.own.halt_limit(wait)
    }

    /// Decides about a halt that has reached its limit: a context that may be scheduled
    /// is, and any other retries its access. If the page is there, the access goes
    /// through; if not, it faults again, or the host stops the core itself.
    #[cold]
    pub fn halt_past_limit(&self, ticket: Ticket, wait: Wait, machine: &impl Machine) -> PastLimit {
        if wait == Wait::HaltFirst {
            if self.slots.schedule_instead(ticket) {
                self.stats.halt_continued.count();
                return PastLimit::Schedule;
            }
        } else if self.slots.give_up_halt(ticket, machine.now()) {
            self.stats.overdue_halts.count();
            // It reports.
            machine.call_service();
        }
        PastLimit::Over
    }

    /// Returns whether any context halts on this core.
    #[inline]
    pub fn is_halting(&self) -> bool {
        self.own.is_halting()
    }
}

#[cfg(test)]
mod tests;
