//! The ready interrupt on one core: who is released.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Release;

use super::{Core, MANY_EMPTY, Machine};
use crate::classify::Wait;
use crate::event::Event;
use crate::outcome::Work;
use crate::protocol::{OUTSTANDING_PER_VCPU, Token};
use crate::remote_ready;

impl Core {
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
    pub(super) fn ready(&self, machine: &impl Machine) -> Option<Work> {
        let token = self.host.area.ready_token();
        (token != Token::NONE).then(|| {
            let work = self.take_ready(token, machine);
            self.host.area.clear_token();
            work
        })
    }

    /// Ends the wait for the page of `token`, which is ready.
    pub(super) fn take_ready(&self, token: Token, machine: &impl Machine) -> Work {
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
            self.start_generation(machine.now());
            self.stats.restored.count();
        }
        // The service thread reports it.
        machine.call_service();
        Work::Reschedule
    }
}
