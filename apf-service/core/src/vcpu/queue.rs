//! The service thread's end of the queues; it is the only caller.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::VCpu;
use crate::event::{Event, Kind};
use crate::protocol::Token;
use crate::slots::Ticket;
use crate::time::Tsc;

/// The oldest event of all cores. Were one core's queue emptied before the
/// next one's, a ready on that core could be told long before its fault on
/// another, and be forgotten among those without a waiter.
pub fn oldest_event<'a>(cores: impl Iterator<Item = &'a VCpu> + Clone) -> Option<Event> {
    let mut first = cores.clone();
    if let (Some(only), None) = (first.next(), first.next()) {
        return only.next_event();
    }
    let (_, core) = cores.filter_map(|core| Some((core.look()?, core))).min_by_key(|(at, _)| at.0)?;
    core.next_event()
}

impl VCpu {
    /// When this core's oldest event happened.
    fn look(&self) -> Option<Tsc> {
        if self.next_at.load(Relaxed) == 0 {
            let event = self.pop()?;
            self.next_at.store(event.at.0.max(1), Relaxed);
            let _ = self.next.push(event);
        }
        Some(Tsc(self.next_at.load(Relaxed)))
    }

    /// This core's oldest event.
    pub fn next_event(&self) -> Option<Event> {
        match self.next_at.swap(0, Relaxed) {
            0 => self.pop(),
            _ => self.next.pop(),
        }
    }

    /// This core's oldest event, but for faults whose wait is over by now: of
    /// those there is nothing to tell.
    ///
    /// An event that found the queue full is lost with its token, and so
    /// everyone is released, to fault again. That must not overtake the
    /// waiter it is meant for:
    ///
    /// ```text
    ///   this core                        service thread
    ///   NotPresent → queue
    ///   its Ready: queue full
    ///   overflowed = now   ────────────► overflowed → release_due
    ///                                    pop … until the queue is empty:
    ///                                      it has seen that NotPresent
    ///                                    release_due: WakeAll
    /// ```
    fn pop(&self) -> Option<Event> {
        // Before the pop, or a waiter enqueued in between would be passed over.
        if self.overflowed.load(Relaxed) != 0 {
            self.release_due.store(self.overflowed.swap(0, Acquire), Relaxed);
        }
        let is_over = |event: &Event| event.ticket != Ticket::NONE && !self.slots.is_scheduled(event.ticket);
        let to_tell = || loop {
            match self.events.pop() {
                Some(event) if is_over(&event) => self.stats.over.count(),
                event => break event,
            }
        };
        to_tell().or_else(|| {
            let due = self.release_due.load(Relaxed);
            self.release_due.store(0, Relaxed);
            (due != 0).then(|| self.event(Kind::WakeAll, Token::WAKE_ALL, Tsc(due)))
        })
    }
}
