//! One core's interrupt side: what happens at a #PF and at a ready interrupt.
//!
//! Everything here runs with interrupts off on the core it belongs to (but for
//! [`VCpu::next_event`] and [`VCpu::release`]), takes a bounded number of steps, and neither
//! allocates nor locks.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use crate::classify::Wait;
use crate::event::{CoreId, Event, Generation, Kind};
use crate::protocol::{Area, Token};
use crate::recent::RecentReady;
use crate::slots::{Released, Slots, Ticket};
use crate::stats::CoreStats;
use crate::time::Tsc;

/// Events a core's queue holds: a not-present and a ready for every slot.
const QUEUE: usize = 2 * crate::slots::SLOTS;

/// How a not-present goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPresent {
    /// Wait on this ticket's slot.
    Wait(Ticket),
    /// Retry the access at once: its ready came first, or there is no slot to
    /// wait on. If the page is still out, the host halts the core itself.
    Retry,
}

/// What a ready interrupt found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// No token (drained by an earlier interrupt).
    Empty,
    /// A token was taken: acknowledge it.
    Taken {
        /// Whether there is work for the service thread.
        wake_service: bool,
    },
    /// The queue is full: the token stays where it is, unacknowledged, so the
    /// host sends no more, until the service thread has drained the queue.
    Deferred,
}

/// One core's state.
#[derive(Debug)]
#[repr(C)]
pub struct VCpu {
    /// What the host writes.
    pub area: Area,
    /// Where waiters wait.
    pub slots: Slots,
    /// What is counted.
    pub stats: CoreStats,
    recent: RecentReady,
    events: ArrayQueue<Event>,
    core: CoreId,
    generation: AtomicU16,
    deferred: AtomicBool,
    halt_depth: AtomicU32,
}

impl VCpu {
    /// A core's state; allocates, so it is made before arming.
    #[must_use]
    pub fn new(core: CoreId) -> Self {
        Self {
            area: Area::default(),
            slots: Slots::default(),
            stats: CoreStats::default(),
            recent: RecentReady::default(),
            events: ArrayQueue::new(QUEUE),
            core,
            generation: AtomicU16::new(0),
            deferred: AtomicBool::new(false),
            halt_depth: AtomicU32::new(0),
        }
    }

    /// Begins a new life: nothing of an earlier one matches any more.
    pub fn begin(&self) {
        self.generation.fetch_add(1, Relaxed);
        self.recent.clear();
        self.area.reset();
    }

    /// The host injected a not-present for `token`.
    ///
    /// Schedule and halt share this path; only a scheduled waiter is the
    /// service thread's business. What does not fit becomes a halt, and what
    /// cannot even halt retries, which is always safe.
    pub fn not_present(&self, token: Token, wait: Wait, rip: u64, now: Tsc) -> NotPresent {
        self.stats.not_present.count();
        let outcome = match wait {
            Wait::Schedule => self.schedule(token, rip, now).unwrap_or_else(|| {
                self.stats.overflow_halts.count();
                self.halt(token, now)
            }),
            Wait::Halt => self.halt(token, now),
        };
        self.stats.most_waiting.raise(self.slots.in_use() as u64);
        outcome
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

    fn halt(&self, token: Token, now: Tsc) -> NotPresent {
        if self.recent.take(token) {
            self.stats.early_ready.count();
            // The service thread remembers that ready too, and should not for
            // ever. If the queue is full, its memory is bounded all the same.
            let _ = self.events.push(self.event(Kind::NotPresent, token, now));
            return NotPresent::Retry;
        }
        let Some(ticket) = self.slots.take(token, Wait::Halt, now) else {
            self.stats.overflow_retries.count();
            return NotPresent::Retry;
        };
        self.stats.halt_waits.count();
        NotPresent::Wait(ticket)
    }

    /// The host raised the ready interrupt (or may have).
    pub fn ready(&self, now: Tsc) -> Ready {
        let token = self.area.ready_token();
        let wake_service = match token {
            Token::NONE => return Ready::Empty,
            Token::WAKE_ALL => {
                self.slots.release_all_halting(now);
                if self.events.push(self.event(Kind::WakeAll, token, now)).is_err() {
                    return self.defer();
                }
                self.stats.wake_all.count();
                true
            }
            token if self.slots.release_halting(token, now) => {
                self.stats.ready.count();
                false
            }
            token => {
                if self.events.push(self.event(Kind::Ready, token, now)).is_err() {
                    return self.defer();
                }
                self.recent.remember(token);
                self.stats.ready.count();
                true
            }
        };
        self.area.clear_token();
        Ready::Taken { wake_service }
    }

    fn defer(&self) -> Ready {
        self.deferred.store(true, Relaxed);
        self.stats.deferred_ready.count();
        Ready::Deferred
    }

    /// Whether a token waits for room in the queue; asking clears the mark.
    pub fn take_deferred(&self) -> bool {
        self.deferred.load(Relaxed) && self.deferred.swap(false, Relaxed)
    }

    /// The oldest event for the service thread.
    pub fn next_event(&self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether there is any event for the service thread.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Ends a wait. The caller wakes the futex of a scheduled waiter.
    pub fn release(&self, ticket: Ticket, ready: Tsc, now: Tsc) -> Released {
        self.slots.release(ticket, ready, now)
    }

    /// A waiter runs again: records its stages and returns its slot.
    pub fn resumed(&self, ticket: Ticket, wait: Wait, now: Tsc) {
        let stages = self.slots.finish(ticket);
        self.stats.finished(wait, stages, now);
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
        let generation = Generation(self.generation.load(Relaxed));
        Event { kind, token, ticket: Ticket::NONE, core: self.core, generation, at, rip: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    fn vcpu() -> Box<VCpu> {
        let v = Box::new(VCpu::new(CoreId(0)));
        v.begin();
        v
    }

    fn ticket(n: NotPresent) -> Ticket {
        match n {
            NotPresent::Wait(t) => t,
            NotPresent::Retry => panic!("should wait"),
        }
    }

    fn deliver(v: &VCpu, token: u32) -> Ready {
        v.area.host_write(0, Token(token));
        v.ready(Tsc(9))
    }

    #[test]
    fn a_scheduled_wait_is_the_services_business() {
        let v = vcpu();
        let t = ticket(v.not_present(Token(5), Wait::Schedule, 0xabc, Tsc(1)));
        let e = v.next_event().unwrap();
        assert_eq!((e.kind, e.token, e.ticket, e.rip), (Kind::NotPresent, Token(5), t, 0xabc));
        assert_eq!(deliver(&v, 5), Ready::Taken { wake_service: true });
        assert_eq!(v.next_event().unwrap().kind, Kind::Ready);
        assert!(!v.slots.get(t).is_ready(t));
        assert_eq!(v.area.ready_token(), Token::NONE);
    }

    #[test]
    fn a_halting_wait_is_released_by_the_interrupt() {
        let v = vcpu();
        let t = ticket(v.not_present(Token(5), Wait::Halt, 0, Tsc(1)));
        assert_eq!(deliver(&v, 5), Ready::Taken { wake_service: false });
        assert!(v.slots.get(t).is_ready(t) && !v.has_events());
    }

    #[test]
    fn an_early_ready_spares_the_halt_and_is_consumed_once() {
        let v = vcpu();
        deliver(&v, 5);
        assert_eq!(v.not_present(Token(5), Wait::Halt, 0, Tsc(1)), NotPresent::Retry);
        assert!(matches!(v.not_present(Token(5), Wait::Halt, 0, Tsc(1)), NotPresent::Wait(_)));
        assert_eq!(v.next_event().unwrap().kind, Kind::Ready);
        let swallow = v.next_event().unwrap();
        assert_eq!((swallow.kind, swallow.ticket), (Kind::NotPresent, Ticket::NONE));
    }

    #[test]
    fn an_empty_interrupt_is_tolerated() {
        assert_eq!(vcpu().ready(Tsc(0)), Ready::Empty);
    }

    #[test]
    fn wake_all_releases_the_halting_and_tells_the_service() {
        let v = vcpu();
        let t = ticket(v.not_present(Token(5), Wait::Halt, 0, Tsc(1)));
        assert_eq!(deliver(&v, u32::MAX), Ready::Taken { wake_service: true });
        assert!(v.slots.get(t).is_ready(t));
        assert_eq!(v.next_event().unwrap().kind, Kind::WakeAll);
    }

    #[test]
    fn a_full_queue_leaves_the_token_with_the_host() {
        let v = vcpu();
        for t in 1..=QUEUE as u32 {
            assert!(matches!(deliver(&v, t), Ready::Taken { .. }));
        }
        assert_eq!(deliver(&v, 9999), Ready::Deferred);
        assert_eq!(v.area.ready_token(), Token(9999));
        // A fault meanwhile halts: the halt needs no queue.
        ticket(v.not_present(Token(3000), Wait::Schedule, 0, Tsc(1)));
        assert_eq!(v.stats.overflow_halts.get(), 1);
        assert_eq!(v.stats.halt_waits.get(), 1);
        while v.next_event().is_some() {}
        assert!(v.take_deferred() && !v.take_deferred());
        assert!(matches!(v.ready(Tsc(9)), Ready::Taken { .. }));
    }

    #[test]
    fn without_any_slot_the_access_is_retried() {
        let v = vcpu();
        while v.slots.take(Token(1), Wait::Halt, Tsc(0)).is_some() {}
        assert_eq!(v.not_present(Token(5), Wait::Schedule, 0, Tsc(1)), NotPresent::Retry);
        assert_eq!(v.stats.overflow_retries.get(), 1);
    }

    #[test]
    fn a_new_life_forgets_early_readies() {
        let v = vcpu();
        deliver(&v, 5);
        v.begin();
        assert!(matches!(v.not_present(Token(5), Wait::Halt, 0, Tsc(1)), NotPresent::Wait(_)));
    }
}
