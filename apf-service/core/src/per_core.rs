//! One core's interrupt side: what happens at a #PF and at a ready interrupt.
//!
//! Everything here runs with interrupts off on the core it belongs to, takes a bounded
//! number of steps, and neither allocates nor locks.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};

use crossbeam_queue::ArrayQueue;

use crate::classify::{Context, Task, Wait, Waits, must_halt};
use crate::early_ready::{EarlyCount, EarlyReady};
use crate::event::{CoreId, Event};
use crate::outcome::{NotPresent, PageFault, PastLimit, Work};
use crate::own::Own;
use crate::protocol::{Area, EndOfInterrupt, OUTSTANDING_PER_VCPU, Reason, Token};
use crate::record::Fault;
use crate::remote_ready;
use crate::slot::{NewWait, SLOTS, Slot, Stages, Ticket};
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
        self.own.begin(machine.now());
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

    /// Handles a #PF. The caller has read CR2 before anything could fault.
    pub fn page_fault(&self, cr2: u64, context: Context, machine: &impl Machine) -> PageFault {
        // The token is the lower half; KVM leaves the upper one 0.
        let token = Token(cr2 as u32);
        if cr2 > u32::MAX.into() || !self.host.area.take_not_present() {
            let work = self.other_fault(cr2, context.rip, context.interrupts_enabled, machine);
            return work.map_or(PageFault::NotOurs, PageFault::Return);
        }
        if !context.interrupts_enabled {
            // Nothing could interrupt this context when the page is ready, so
            // it would wait forever. A correct host never injects here.
            return PageFault::BrokenHost(token);
        }
        let Some(wait) = self.wait(context, machine) else {
            self.retry_without_room(machine);
            return PageFault::Return(Work::Nothing);
        };
        match self.not_present(token, wait, context.rip, machine) {
            NotPresent::Wait(ticket, wait) => PageFault::Wait(ticket, wait),
            NotPresent::Retry => PageFault::Return(Work::Nothing),
        }
    }

    /// Handles a #PF that is no not-present of KVM's; `None` if it is not ours. It returns less than
    /// a [`PageFault`], which would be packed into a register on the hot path as well.
    #[cold]
    #[inline(never)]
    fn other_fault(
        &self,
        cr2: u64,
        rip: u64,
        interrupts_enabled: bool,
        machine: &impl Machine,
    ) -> Option<Work> {
        let token = u32::try_from(cr2).ok().map(Token);
        match (self.host.area.take_reason(), token) {
            (Reason::LegacyReady, Some(token)) => return Some(self.take_ready(token, machine)),
            (Reason::Ordinary, _) => {}
            _ => self.stats.unknown_reason.count(),
        }
        self.unexplained(token, rip, interrupts_enabled)
    }

    /// Handles a #PF that has no reason, or an unknown one. It is the program's own fault, or the
    /// host has lost or damaged the reason of a not-present. So an access whose address could
    /// be a token is tried once more: for a page that is under way, the host now stops the core
    /// until it is there. The program's own fault comes again, and is the kernel's.
    fn unexplained(&self, token: Option<Token>, rip: u64, interrupts_enabled: bool) -> Option<Work> {
        let token = token.filter(|token| token.names_a_fault() && interrupts_enabled)?;
        if self.own.is_last_unexplained(rip, token) {
            return None;
        }
        self.stats.unexplained_retries.count();
        Some(Work::Nothing)
    }

    /// Chooses how an interrupted context waits; `None` if its stack has no room for a wait, so
    /// that it is to retry its access: the host then stops the core until the page is there.
    fn wait(&self, context: Context, machine: &impl Machine) -> Option<Wait> {
        if self.own.waits() == Waits::Halt {
            return Some(Wait::Halt);
        }
        let (mut is_alone, mut has_room) = (false, true);
        let task = || {
            let task = machine.task();
            (is_alone, has_room) = (task.is_alone, task.has_room(context.rsp));
            task
        };
        let reason = must_halt(context, &machine.kernel_text(), task);
        has_room.then(|| {
            if let Some(reason) = reason {
                self.stats.halted(reason);
                Wait::Halt
            } else if self.own.prefers_halt(is_alone) {
                self.stats.halt_cheaper.count();
                Wait::HaltFirst
            } else {
                Wait::Schedule
            }
        })
    }

    /// Counts a not-present whose context has no room to wait.
    #[cold]
    #[inline(never)]
    fn retry_without_room(&self, machine: &impl Machine) {
        self.stats.not_present.count();
        self.count_outstanding(machine);
        self.stats.no_room_retries.count();
    }

    /// Handles a not-present for `token`: enters token and waiter into the table.
    ///
    /// Schedule and halt share this path. A wait by schedule that finds no slot becomes a
    /// halt, and a halt that finds none retries, which is always safe.
    pub fn not_present(&self, token: Token, wait: Wait, rip: u64, machine: &impl Machine) -> NotPresent {
        let now = machine.now();
        self.stats.not_present.count();
        if !token.names_a_fault() {
            self.stats.impossible_token.count();
            return NotPresent::Retry;
        }
        self.count_outstanding(machine);
        if self.shared.early.take(token, self.own.generation(), machine.early()) {
            self.stats.early_ready.count();
            return NotPresent::Retry;
        }
        if let Some((older, wait)) = self.slots.displace(token, now) {
            self.stats.displaced.count();
            if wait == Wait::Schedule {
                machine.wake(older);
            }
        }
        let take = |wait| Some((self.slots.take(NewWait { token, wait, fault: now, rip })?, wait));
        let taken = take(wait).or_else(|| {
            let taken = (wait == Wait::Schedule).then(|| take(Wait::Halt)).flatten();
            self.stats.overflow_halts.add(u64::from(taken.is_some()));
            taken
        });
        let Some((ticket, wait)) = taken else {
            self.stats.overflow_retries.count();
            return NotPresent::Retry;
        };
        self.stats.most_waiting.raise(self.slots.in_use() as u64);
        let others = self.others(machine).map(|other| &other.shared.early);
        if remote_ready::take_early(others, token, machine.early()) {
            self.slots.finish(ticket);
            self.stats.early_ready.count();
            return NotPresent::Retry;
        }
        match wait {
            Wait::Schedule => self.stats.schedule_waits.count(),
            Wait::Halt | Wait::HaltFirst => self.stats.halt_waits.count(),
        }
        NotPresent::Wait(ticket, wait)
    }

    #[inline]
    fn count_outstanding(&self, machine: &impl Machine) {
        let outstanding = self.own.add_outstanding().into();
        if self.stats.most_outstanding.raise(outstanding) && outstanding >= NEAR_LIMIT {
            // The service thread logs a warning.
            machine.call_service();
        }
        if outstanding == OUTSTANDING_PER_VCPU as u64 {
            self.stats.budget_spent.count();
        }
    }

    /// Handles the ready interrupt: takes tokens, several if need be, since
    /// the acknowledgement makes the host store the next one at once.
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
    ///
    /// An interrupt that finds no token is acknowledged as well. Usually an earlier
    /// interrupt took the token. On Linux 5.8 to 5.16 a token can be 0; without an ACK
    /// such a host delivers nothing more.
    ///
    /// The loop is bounded, even for a host that always has a token: each token raises
    /// an interrupt, so the next one is not missed.
    pub fn drain(&self, machine: &impl Machine) -> Work {
        let mut work = Work::Nothing;
        for taken in 0..2 * OUTSTANDING_PER_VCPU {
            match self.ready(machine) {
                Some(more) => {
                    work = work.max(more);
                    machine.acknowledge();
                }
                None => {
                    if taken == 0 {
                        self.stats.spurious_interrupts.count();
                        if self.stats.spurious_interrupts.get().is_multiple_of(MANY_EMPTY) {
                            // It reports them.
                            machine.call_service();
                        }
                        machine.acknowledge();
                    }
                    break;
                }
            }
        }
        work
    }

    /// Takes what the host may have delivered without an interrupt, or keeps back for want of an
    /// acknowledgement. In task context with interrupts off.
    pub fn take_delayed(&self, machine: &impl Machine) {
        if self.host.area.ready_token() == Token::NONE {
            machine.acknowledge();
        } else {
            self.drain(machine);
        }
    }

    /// Takes one token, if there is one.
    fn ready(&self, machine: &impl Machine) -> Option<Work> {
        let token = self.host.area.ready_token();
        (token != Token::NONE).then(|| {
            let work = self.take_ready(token, machine);
            self.host.area.clear_token();
            work
        })
    }

    /// Ends the wait for the page of `token`, which is ready.
    fn take_ready(&self, token: Token, machine: &impl Machine) -> Work {
        if token == Token::WAKE_ALL {
            return self.wake_all(machine);
        }
        let now = machine.now();
        self.stats.ready.count();
        self.own.remove_outstanding();
        match self.slots.release(token, now, now) {
            Some((_, Wait::Halt | Wait::HaltFirst)) => {
                self.stats.halt_released.count();
                Work::Nothing
            }
            Some((slot, Wait::Schedule)) => {
                self.stats.handed_off.count();
                // A task that does not sleep yet continues to run.
                if machine.wake(slot) { Work::Reschedule } else { Work::Nothing }
            }
            None => {
                self.ready_elsewhere(Event { token, generation: self.own.generation(), at: now }, machine)
            }
        }
    }

    /// Remembers a ready without a waiter on this core, and looks for a waiter on other
    /// cores ([`remote_ready`]).
    #[cold]
    fn ready_elsewhere(&self, event: Event, machine: &impl Machine) -> Work {
        let Event { token, generation, at } = event;
        self.shared.early.remember(token, generation, machine.early());
        let slots = self.others(machine).map(|other| (other.id, &other.slots));
        if let Some(core) = remote_ready::release_halting(slots, token, at) {
            self.shared.early.take(token, generation, machine.early());
            self.stats.halt_released_elsewhere.count();
            machine.interrupt(core);
            return Work::Nothing;
        }
        if self.shared.events.push(event).is_err() {
            self.stats.deferred_ready.count();
            self.shared.overflowed.store(true, Release);
        }
        machine.call_service();
        Work::Reschedule
    }

    /// Releases all waiters of this core, after a wake-all from the host.
    ///
    /// The host sends one whenever the enable register is written. If this core did not write
    /// it, the VMM did: it has restored the guest from a snapshot or a migration. This host
    /// then works on no fault of the old one, and may be of another kind.
    #[cold]
    fn wake_all(&self, machine: &impl Machine) -> Work {
        self.stats.wake_all.count();
        self.stats.woken.add(self.release_everyone(machine) as u64);
        if !self.own.take_expected_wake_all() {
            self.own.begin(machine.now());
            self.stats.restored.count();
        }
        // The service thread reports it.
        machine.call_service();
        Work::Reschedule
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
    #[inline]
    pub fn resumed(&self, ticket: Ticket, wait: Wait, now: Tsc) -> Fault {
        let (token, rip) = self.slots.get(ticket).origin();
        let stages = self.slots.finish(ticket);
        self.stats.finished(wait, stages, now);
        self.own.learn(wait, &stages, now);
        let Stages { fault, parked, ready, released } = stages;
        let halt = wait != Wait::Schedule;
        Fault { core: self.id, halt, token, rip, fault, parked, ready, released, running: now }
    }

    /// Notes that a context starts to halt: until it [stops](Self::stop_halting), nothing
    /// but interrupts runs on this core.
    #[inline]
    pub fn start_halting(&self) {
        self.own.start_halting();
    }

    /// Notes that the innermost halting context continues.
    #[inline]
    pub fn stop_halting(&self) {
        self.own.stop_halting();
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
