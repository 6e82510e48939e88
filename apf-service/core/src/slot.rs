//! One wait: where a waiter and its waker meet.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::classify::Wait;
use crate::protocol::Token;
use crate::sleeper::Sleeper;
use crate::sync::{AtomicU32, AtomicU64};
use crate::time::Tsc;

/// Slots of a core. More than [`OUTSTANDING_PER_VCPU`](crate::protocol::OUTSTANDING_PER_VCPU),
/// since a released task keeps its slot until it runs.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 256 };
/// Slots that only halting waiters may take: they nest only as deep as the
/// wait path itself can fault, so a few would do.
pub const HALT_RESERVE: usize = if cfg!(loom) { 1 } else { 32 };

pub(crate) const INDEX_BITS: u32 = 8;
const _: () = assert!(SLOTS <= 1 << INDEX_BITS);
/// Slot number and use count. A ticket of an earlier use does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Ticket(pub u32);

impl Ticket {
    pub(crate) const fn new(use_count: u32, index: usize) -> Self {
        Self(use_count << INDEX_BITS | index as u32)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize % SLOTS
    }

    pub(crate) const fn use_count(self) -> u32 {
        self.0 >> INDEX_BITS
    }
}

/// The state in a wait word's low two bits; the use count is above them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Free = 0,
    Schedule = 1,
    Halt = 2,
    Ready = 3,
}

const STATE: u32 = 3;

pub(crate) const fn word(use_count: u32, state: State) -> u32 {
    use_count << 2 | state as u32
}

/// Kind of the wait that a word stands for; `None` if none is in progress.
pub(crate) const fn wait_of(word: u32) -> Option<Wait> {
    match word & STATE {
        s if s == State::Schedule as u32 => Some(Wait::Schedule),
        s if s == State::Halt as u32 => Some(Wait::Halt),
        _ => None,
    }
}

/// A wait that starts.
#[derive(Clone, Copy, Debug)]
pub struct NewWait {
    /// The fault's token.
    pub token: Token,
    /// The kind of wait.
    pub wait: Wait,
    /// #PF delivered.
    pub fault: Tsc,
    /// The instruction that touched the page.
    pub rip: u64,
}

/// One wait: a futex word, the token waited for, the times of its stages, the sleeper.
/// A cache line of its own, so that waiters do not slow each other down.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    pub(crate) word: AtomicU32,
    pub(crate) token: AtomicU32,
    pub(crate) fault: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) ready: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) rip: AtomicU64,
    pub(crate) sleeper: Sleeper,
}
#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64);

/// The stages of a finished wait.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// #PF delivered.
    pub fault: Tsc,
    /// About to block or halt.
    pub parked: Tsc,
    /// Ready interrupt.
    pub ready: Tsc,
    /// Wait word set.
    pub released: Tsc,
}

impl Slot {
    /// The futex word. It equals [`waiting_value`](Self::waiting_value) while
    /// there is something to wait for.
    #[inline]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// The task that sleeps on the word.
    #[inline]
    pub fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// Returns the value of the word while `ticket` waits by schedule.
    #[must_use]
    pub const fn waiting_value(ticket: Ticket) -> u32 {
        word(ticket.use_count(), State::Schedule)
    }

    /// Returns whether the wait is over.
    #[inline]
    pub fn is_ready(&self, ticket: Ticket) -> bool {
        self.word.load(Acquire) == word(ticket.use_count(), State::Ready)
    }

    /// Returns the token waited for, and the instruction that touched its page.
    #[inline]
    pub fn origin(&self) -> (Token, u64) {
        (Token(self.token.load(Relaxed)), self.rip.load(Relaxed))
    }

    /// Notes that the waiter is about to block or halt.
    #[inline]
    pub fn park(&self, now: Tsc) {
        self.parked.store(now.0, Relaxed);
    }

    /// Returns when the #PF was delivered.
    #[inline]
    pub fn since(&self) -> Tsc {
        Tsc(self.fault.load(Relaxed))
    }

    #[inline]
    pub(crate) fn stages(&self) -> Stages {
        let at = |t: &AtomicU64| Tsc(t.load(Relaxed));
        Stages {
            fault: at(&self.fault),
            parked: at(&self.parked),
            ready: at(&self.ready),
            released: at(&self.released),
        }
    }

    /// Returns the wait word while it waits.
    ///
    /// Acquire: token and times are those of the wait that the word stands for.
    #[inline]
    pub(crate) fn waits(&self) -> Option<u32> {
        let word = self.word.load(Acquire);
        wait_of(word).map(|_| word)
    }

    /// Returns the wait word while it waits for `token`.
    #[inline]
    pub(crate) fn waits_for(&self, token: Token) -> Option<u32> {
        self.waits().filter(|_| self.token.load(Relaxed) == token.0)
    }

    /// Ends the wait that `waiting` stands for, once, and returns its kind.
    ///
    /// ```text
    ///   waker                                waiter
    ///   ready, released = times
    ///   word: waiting → ready  (Release) ──► word == ready  (Acquire)
    ///   wake                                 reads the times, frees the slot
    /// ```
    ///
    /// The exchange fails when another waker ended this wait, or the slot has been reused;
    /// then the waker must not touch it.
    pub(crate) fn end(&self, waiting: u32, ready: Tsc, now: Tsc) -> Option<Wait> {
        self.ready.store(ready.0, Relaxed);
        self.released.store(now.0, Relaxed);
        let over = waiting | State::Ready as u32;
        self.word.compare_exchange(waiting, over, Release, Relaxed).ok()?;
        wait_of(waiting)
    }
}
