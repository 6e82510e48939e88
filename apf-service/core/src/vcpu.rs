//! One core's interrupt side: what happens at a #PF and at a ready interrupt.
//!
//! Everything here runs with interrupts off on the core it belongs to (but for
//! [`VCpu::next_event`] and [`VCpu::release`]), takes a bounded number of steps, and neither
//! allocates nor locks.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

use crossbeam_queue::ArrayQueue;

use crate::classify::{Context, Task, Wait, Waits, must_halt};
use crate::crossing::{came_elsewhere, release_elsewhere};
use crate::event::{CoreId, Event, Generation, Kind};
use crate::policy::Policy;
use crate::protocol::{Area, EndOfInterrupt, OUTSTANDING_PER_VCPU, Reason, Token};
use crate::recent::RecentReady;
use crate::record::Fault;
use crate::slots::{Released, Slot, Slots, Stages, Ticket};
use crate::stats::CoreStats;
use crate::time::Tsc;

/// Events a core's queue holds: a not-present and a ready for every slot.
const QUEUE: usize = 2 * crate::slots::SLOTS;
/// After so many waits that the interrupt itself has ended, the service thread
/// is woken to clear away their events, long before these fill the queue.
const HAND_OFFS_UNTOLD: u64 = OUTSTANDING_PER_VCPU as u64;
/// After so many cycles without one, some tenth of a second, the first wait that the
/// interrupt ends wakes the service thread too: if the thread's own pages were taken
/// out meanwhile, they come back while everyone else's do.
const PAUSE: u64 = 1 << 28;

/// How a not-present goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPresent {
    /// Wait on this ticket's slot.
    Wait(Ticket),
    /// Retry the access at once: its ready came first, or there is no slot to
    /// wait on. If the page is still out, the host halts the core itself.
    Retry,
}

/// What a #PF asks of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// Not an async one, or of a kind unknown: the kernel's own handler's.
    NotOurs,
    /// Go on at the interrupted instruction.
    Return(Work),
    /// Wait on this ticket's slot, in this way.
    Wait(Ticket, Wait),
    /// Injected with interrupts off: the context can neither wait nor go on.
    BrokenHost(Token),
}

/// What a ready interrupt found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// No token (drained by an earlier interrupt).
    Empty,
    /// A token was taken: acknowledge it.
    Taken(Work),
}

/// What is to be done at the end of an interrupt; the later includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// A task of this core was woken: the scheduler chooses who runs.
    Reschedule,
    /// The service thread is to be woken.
    Service,
}

/// The machine around one core's interrupt side.
pub trait Machine {
    /// The other cores' states.
    fn others(&self) -> impl Iterator<Item = &VCpu>;
    /// Interrupts `core`, so that a context that halts there looks at its word.
    fn interrupt(&self, core: CoreId);
    /// Wakes the task of this core that sleeps on `slot`; `false` if it does not
    /// sleep yet, and so will not.
    fn wake(&self, slot: &Slot) -> bool;
}

/// One core's state.
#[derive(Debug)]
#[repr(C)]
pub struct VCpu {
    /// What the host writes.
    pub area: Area,
    /// Where the end of its interrupts may be told.
    pub end_of_interrupt: EndOfInterrupt,
    /// Where waiters wait.
    pub slots: Slots,
    /// What is counted.
    pub stats: CoreStats,
    recent: RecentReady,
    events: ArrayQueue<Event>,
    /// The event that is next, taken from `events` to see how old it is.
    next: ArrayQueue<Event>,
    /// When that one happened; 0 if there is none. The service thread's own.
    next_at: AtomicU64,
    core: CoreId,
    generation: AtomicU16,
    /// Not-presents of this life whose ready has not come.
    outstanding: AtomicU32,
    /// When an event was last lost to a full queue, until the service thread
    /// has looked; then 0.
    overflowed: AtomicU64,
    /// The same once it has: it is to release everyone as soon as it has
    /// drained the queue. Its own.
    release_due: AtomicU64,
    halt_depth: AtomicU32,
    /// A [`Waits`].
    waits: AtomicU32,
    /// See [`allow_hand_off`](Self::allow_hand_off).
    hand_off: AtomicBool,
    /// When the interrupt last ended a wait by schedule itself.
    last_hand_off: AtomicU64,
    policy: Policy,
}

impl VCpu {
    /// A core's state; allocates, so it is made before arming.
    #[must_use]
    pub fn new(core: CoreId) -> Self {
        Self {
            area: Area::default(),
            end_of_interrupt: EndOfInterrupt::default(),
            slots: Slots::default(),
            stats: CoreStats::default(),
            recent: RecentReady::default(),
            events: ArrayQueue::new(QUEUE),
            next: ArrayQueue::new(1),
            next_at: AtomicU64::new(0),
            core,
            generation: AtomicU16::new(0),
            outstanding: AtomicU32::new(0),
            overflowed: AtomicU64::new(0),
            release_due: AtomicU64::new(0),
            halt_depth: AtomicU32::new(0),
            waits: AtomicU32::new(Waits::default() as u32),
            hand_off: AtomicBool::new(false),
            last_hand_off: AtomicU64::new(0),
            policy: Policy::default(),
        }
    }

    /// Says which waits the program wants, before a life begins, and below which
    /// latency in cycles [`Waits::Auto`] may halt.
    pub fn set_waits(&self, waits: Waits, halt_below: u64) {
        self.waits.store(waits as u32, Relaxed);
        self.policy.set_limit(halt_below);
    }

    /// The service thread, which owns the table of who waits, says whether a ready
    /// interrupt may wake the waiter of its token itself. The thread then hears of
    /// the wait only if it looks while it goes on.
    pub fn allow_hand_off(&self, allow: bool) {
        self.hand_off.store(allow, Relaxed);
    }

    /// Begins a new life: nothing of an earlier one matches any more.
    pub fn begin(&self) {
        self.generation.fetch_add(1, Relaxed);
        self.outstanding.store(0, Relaxed);
        self.area.reset();
        self.end_of_interrupt.reset();
    }

    /// Ends this life: the host has just been told to forget what is
    /// outstanding, so nobody else would release the waiters. Leaves the service
    /// thread an event, so that its table forgets them too.
    ///
    /// A token that is in the area already may be another core's: it is taken.
    pub fn end(&self, machine: &impl Machine, now: Tsc) {
        self.ready(machine, now);
        self.area.reset();
        self.slots.release_everyone(now, |slot| {
            machine.wake(slot);
        });
        self.tell(Kind::WakeAll, Token::WAKE_ALL, now);
    }

    /// Turns to a #PF. The caller has read CR2 before anything could fault.
    pub fn page_fault(
        &self,
        cr2: u64,
        context: Context,
        kernel_text: &Range<u64>,
        task: impl FnOnce() -> Task,
        machine: &impl Machine,
        now: Tsc,
    ) -> PageFault {
        // The token is the lower half; KVM leaves the upper one 0.
        let token = Token(cr2 as u32);
        match self.area.take_reason() {
            Reason::Ordinary => return PageFault::NotOurs,
            Reason::Unknown(_) => {
                self.stats.unknown_reason.count();
                return PageFault::NotOurs;
            }
            Reason::LegacyReady => {
                return PageFault::Return(self.take_ready(token, machine, now));
            }
            Reason::NotPresent => {}
        }
        if !context.interrupts_enabled {
            // Nothing could interrupt this context when the page is ready, so
            // it would wait for ever. A correct host never injects here.
            return PageFault::BrokenHost(token);
        }
        let wait = self.wait(context, kernel_text, task);
        match self.not_present(token, wait, context.rip, machine, now) {
            NotPresent::Wait(ticket) => PageFault::Wait(ticket, self.slots.get(ticket).wait()),
            NotPresent::Retry => PageFault::Return(Work::Nothing),
        }
    }

    fn wait(&self, context: Context, kernel_text: &Range<u64>, task: impl FnOnce() -> Task) -> Wait {
        let waits = Waits::decode(self.waits.load(Relaxed));
        if waits == Waits::Halt {
            return Wait::Halt;
        }
        let mut is_alone = false;
        let task = || {
            let task = task();
            is_alone = task.is_alone;
            task
        };
        if let Some(reason) = must_halt(context, kernel_text, task) {
            self.stats.halted(reason);
            return Wait::Halt;
        }
        if waits == Waits::Auto && self.policy.halts(is_alone, self.outstanding.load(Relaxed)) {
            self.stats.halt_cheaper.count();
            return Wait::Halt;
        }
        Wait::Schedule
    }

    /// The host injected a not-present for `token`.
    ///
    /// Schedule and halt share this path; only a scheduled waiter is the
    /// service thread's business. What does not fit becomes a halt, and what
    /// cannot even halt retries, which is always safe.
    pub fn not_present(
        &self,
        token: Token,
        wait: Wait,
        rip: u64,
        machine: &impl Machine,
        now: Tsc,
    ) -> NotPresent {
        self.stats.not_present.count();
        if !token.names_a_fault() {
            self.stats.impossible_token.count();
            return NotPresent::Retry;
        }
        let outstanding = self.outstanding.load(Relaxed) + 1;
        self.outstanding.store(outstanding, Relaxed);
        self.stats.most_outstanding.raise(outstanding.into());
        if outstanding == OUTSTANDING_PER_VCPU as u32 {
            self.stats.budget_spent.count();
        }
        if self.recent.take(token, self.life()) {
            self.meet_early(token, now);
            return NotPresent::Retry;
        }
        let outcome = match wait {
            Wait::Schedule => self.schedule(token, rip, now).unwrap_or_else(|| {
                self.stats.overflow_halts.count();
                self.halt(token, machine, now)
            }),
            Wait::Halt => self.halt(token, machine, now),
        };
        if let NotPresent::Wait(ticket) = outcome {
            self.slots.get(ticket).note_rip(rip);
        }
        self.stats.most_waiting.raise(self.slots.in_use() as u64);
        outcome
    }

    /// The ready of `token` came first. The service thread remembers it too, and
    /// should not for ever. If the queue is full, its memory is bounded all the same.
    fn meet_early(&self, token: Token, now: Tsc) {
        self.stats.early_ready.count();
        let _ = self.events.push(self.event(Kind::NotPresent, token, now));
    }

    fn schedule(&self, token: Token, rip: u64, now: Tsc) -> Option<NotPresent> {
        let ticket = self.slots.take(token, Wait::Schedule, now)?;
        let event = self.event(Kind::NotPresent, token, now);
        if self.events.push(Event { ticket, rip, ..event }).is_err() {
            self.slots.finish(ticket);
            return None;
        }
        self.stats.schedule_waits.count();
        Some(NotPresent::Wait(ticket))
    }

    fn halt(&self, token: Token, machine: &impl Machine, now: Tsc) -> NotPresent {
        let Some(ticket) = self.slots.take(token, Wait::Halt, now) else {
            self.stats.overflow_retries.count();
            return NotPresent::Retry;
        };
        if came_elsewhere(machine.others().map(|other| &other.recent), token) {
            self.slots.finish(ticket);
            self.meet_early(token, now);
            return NotPresent::Retry;
        }
        self.stats.halt_waits.count();
        NotPresent::Wait(ticket)
    }

    /// The host raised the ready interrupt, or may have: takes tokens, since
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
    /// A host that goes on for ever is cut short: it raises an interrupt with
    /// each token, so the next one is not missed.
    pub fn drain(
        &self,
        machine: &impl Machine,
        mut now: impl FnMut() -> Tsc,
        mut acknowledge: impl FnMut(),
    ) -> Work {
        let mut work = Work::Nothing;
        for taken in 0..2 * OUTSTANDING_PER_VCPU {
            match self.ready(machine, now()) {
                Ready::Empty => {
                    if taken == 0 {
                        self.stats.spurious_interrupts.count();
                    }
                    break;
                }
                Ready::Taken(more) => {
                    work = work.max(more);
                    acknowledge();
                }
            }
        }
        work
    }

    /// Takes one token, if there is one.
    pub fn ready(&self, machine: &impl Machine, now: Tsc) -> Ready {
        let token = self.area.ready_token();
        if token == Token::NONE {
            return Ready::Empty;
        }
        let work = self.take_ready(token, machine, now);
        self.area.clear_token();
        Ready::Taken(work)
    }

    /// The page of `token` is ready.
    fn take_ready(&self, token: Token, machine: &impl Machine, now: Tsc) -> Work {
        if token == Token::WAKE_ALL {
            self.stats.wake_all.count();
            self.slots.release_all_halting(now);
            self.tell(Kind::WakeAll, token, now);
            return Work::Service;
        }
        self.stats.ready.count();
        self.outstanding.store(self.outstanding.load(Relaxed).saturating_sub(1), Relaxed);
        if self.slots.release_halting(token, now) {
            self.stats.halt_released.count();
            return Work::Nothing;
        }
        if self.hand_off.load(Relaxed)
            && let Some(slot) = self.slots.release_scheduled(token, now)
        {
            let slept = machine.wake(slot);
            self.stats.handed_off.count();
            let pause = now.since(Tsc(self.last_hand_off.load(Relaxed)));
            self.last_hand_off.store(now.0, Relaxed);
            let tell = pause >= PAUSE || self.stats.handed_off.get().is_multiple_of(HAND_OFFS_UNTOLD);
            return match (tell, slept) {
                (true, _) => Work::Service,
                (false, true) => Work::Reschedule,
                // It runs already, and keeps its turn.
                (false, false) => Work::Nothing,
            };
        }
        self.recent.remember(token, self.life());
        let slots = machine.others().map(|other| (other.core, &other.slots));
        if let Some(core) = release_elsewhere(slots, token, now) {
            self.recent.take(token, self.life());
            self.stats.halt_released_elsewhere.count();
            machine.interrupt(core);
            return Work::Nothing;
        }
        if !self.tell(Kind::Ready, token, now) {
            self.stats.deferred_ready.count();
            // It may have been meant for a task of any core.
            machine.others().for_each(|other| other.note_overflow(now));
        }
        Work::Service
    }

    /// Enqueues an event for the service thread. If the queue is full, notes
    /// that one was lost; see [`next_event`](Self::next_event).
    fn tell(&self, kind: Kind, token: Token, now: Tsc) -> bool {
        let told = self.events.push(self.event(kind, token, now)).is_ok();
        if !told {
            self.note_overflow(now);
        }
        told
    }

    fn note_overflow(&self, now: Tsc) {
        self.overflowed.store(now.0.max(1), Release);
    }

    /// Ends a wait. The caller wakes the futex of a scheduled waiter. Its ready, if it
    /// came on this core, is no longer one that released nobody.
    pub fn release(&self, ticket: Ticket, ready: Tsc, now: Tsc) -> Released {
        let (token, _) = self.slots.get(ticket).origin();
        let released = self.slots.release(ticket, ready, now);
        if released == Released::Scheduled {
            self.recent.take(token, self.life());
        }
        released
    }

    /// A waiter runs again: counts its stages, returns its slot, and tells of the
    /// whole fault.
    pub fn resumed(&self, ticket: Ticket, wait: Wait, now: Tsc) -> Fault {
        let (token, rip) = self.slots.get(ticket).origin();
        let stages = self.slots.finish(ticket);
        self.stats.finished(wait, stages, now);
        self.policy.learn(wait, &stages, now, self.outstanding.load(Relaxed));
        let Stages { fault, parked, ready, released } = stages;
        let halt = wait == Wait::Halt;
        Fault { core: self.core, halt, token, rip, fault, parked, ready, released, running: now }
    }

    /// A context begins to halt: until it [stops](Self::stop_halting), nothing
    /// but interrupts runs on this core.
    pub fn start_halting(&self) {
        self.halt_depth.store(self.halt_depth.load(Relaxed) + 1, Relaxed);
    }

    /// The innermost halting context goes on.
    pub fn stop_halting(&self) {
        self.halt_depth.store(self.halt_depth.load(Relaxed) - 1, Relaxed);
    }

    /// Whether any context halts on this core.
    pub fn is_halting(&self) -> bool {
        self.halt_depth.load(Relaxed) > 0
    }

    fn event(&self, kind: Kind, token: Token, at: Tsc) -> Event {
        Event { kind, token, ticket: Ticket::NONE, core: self.core, generation: self.life(), at, rip: 0 }
    }

    fn life(&self) -> Generation {
        Generation(self.generation.load(Relaxed))
    }
}

mod queue;
pub use queue::oldest_event;
#[cfg(test)]
mod tests;
