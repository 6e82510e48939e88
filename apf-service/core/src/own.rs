//! State of a core that only its own interrupt context accesses.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::classify::{Wait, Waits};
use crate::event::Generation;
use crate::policy::Policy;
use crate::protocol::Token;
use crate::slot::Stages;
use crate::time::Tsc;

/// A number that one core alone reads and writes, with interrupts off. It lies in memory
/// that others could reach, so it is an atomic, but no access to it is a locked one.
#[derive(Debug, Default)]
struct Single(AtomicU32);

impl Single {
    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    #[inline]
    fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }
}

/// State accessed by one core only.
#[derive(Debug, Default)]
pub struct Own {
    generation: Single,
    /// Not-presents of this generation less ready tokens. A ready that overtakes its
    /// fault, or comes for another core's, counts before it or instead of it, so this
    /// may be negative.
    outstanding: Single,
    halt_depth: Single,
    /// Instruction and address of the last #PF that the host did not explain.
    unexplained: (AtomicU64, Single),
    /// A [`Waits`].
    waits: Single,
    /// Longest wait by halt in cycles.
    overdue: AtomicU64,
    /// Start of this generation.
    began: AtomicU64,
    /// 1 until the wake-all comes that this core's own arming causes.
    expects_wake_all: Single,
    policy: Policy,
}

impl Own {
    /// Sets the waits that the program wants, the latency below which [`Waits::Auto`] may
    /// halt, and how long any halt may last, both in cycles.
    #[inline]
    pub fn set_waits(&self, waits: Waits, halt_below: u64, overdue: u64) {
        self.waits.set(waits as u32);
        self.overdue.store(overdue, Relaxed);
        self.policy.set_halt_below(halt_below);
    }

    /// Returns which waits the program wants.
    #[inline]
    pub fn waits(&self) -> Waits {
        Waits::decode(self.waits.get())
    }

    /// Starts the next generation, on what may be another host: nothing is known of its
    /// latencies, and its tokens start anew.
    pub fn begin(&self, now: Tsc) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.began.store(now.0, Relaxed);
        self.unexplained.1.set(Token::NONE.0);
        self.forget_outstanding();
        self.policy.forget();
    }

    /// Expects the wake-all that arming causes.
    pub fn expect_wake_all(&self) {
        self.expects_wake_all.set(1);
    }

    /// Returns whether a wake-all was expected, and expects none from then on.
    pub fn take_expected_wake_all(&self) -> bool {
        let expected = self.expects_wake_all.get() != 0;
        self.expects_wake_all.set(0);
        expected
    }

    /// Returns the generation.
    #[inline]
    pub fn generation(&self) -> Generation {
        Generation(self.generation.get() as u16)
    }

    /// Counts a not-present; returns how many are outstanding with it.
    #[inline]
    pub fn add_outstanding(&self) -> u32 {
        self.outstanding.set(self.outstanding.get().wrapping_add(1));
        self.outstanding()
    }

    /// Counts a ready.
    #[inline]
    pub fn remove_outstanding(&self) {
        self.outstanding.set(self.outstanding.get().wrapping_sub(1));
    }

    /// Resets the count, since the host owes nothing.
    #[inline]
    pub fn forget_outstanding(&self) {
        self.outstanding.set(0);
    }

    #[inline]
    fn outstanding(&self) -> u32 {
        self.outstanding.get().cast_signed().max(0).cast_unsigned()
    }

    /// Notes a #PF of the instruction at `rip` that the host did not explain, with the address `token`.
    /// Returns true if the last one was the same.
    pub fn is_last_unexplained(&self, rip: u64, token: Token) -> bool {
        let (last_rip, last_token) = &self.unexplained;
        let is_same = (last_rip.load(Relaxed), last_token.get()) == (rip, token.0);
        last_rip.store(rip, Relaxed);
        last_token.set(token.0);
        is_same
    }

    /// Returns whether a context that may wait by schedule should halt ([`Policy::halts`]).
    #[inline]
    pub fn prefers_halt(&self, is_alone: bool) -> bool {
        self.waits() == Waits::Auto && self.policy.halts(is_alone, self.outstanding())
    }

    /// Returns how long a wait may halt, in cycles.
    #[inline]
    pub fn halt_limit(&self, wait: Wait) -> u64 {
        let overdue = self.overdue.load(Relaxed);
        if wait == Wait::HaltFirst { overdue.min(self.policy.halt_below()) } else { overdue }
    }

    /// Learns from a finished wait ([`Policy::learn`]), unless an earlier generation began it:
    /// then its time says nothing about this host.
    #[inline]
    pub fn learn(&self, wait: Wait, stages: &Stages, running: Tsc) {
        if stages.fault.0 >= self.began.load(Relaxed) {
            self.policy.learn(wait, stages, running, self.outstanding());
        }
    }

    /// Notes that a context starts to halt.
    #[inline]
    pub fn start_halting(&self) {
        self.halt_depth.set(self.halt_depth.get() + 1);
    }

    /// Notes that the innermost halting context continues.
    #[inline]
    pub fn stop_halting(&self) {
        self.halt_depth.set(self.halt_depth.get() - 1);
    }

    /// Returns whether any context halts.
    #[inline]
    pub fn is_halting(&self) -> bool {
        self.halt_depth.get() > 0
    }
}
