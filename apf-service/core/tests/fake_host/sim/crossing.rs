//! Readies that arrive on another core than their fault.

use std::cell::RefCell;

use apf_core::event::CoreId;
use apf_core::protocol::Token;

use super::core::{Elsewhere, Waiting};
use super::world::World;

impl World {
    /// The page of a fault is back, and core `to` gets its ready.
    pub fn complete_elsewhere(&mut self, core: usize, nth: u8, to: usize) -> Result<(), String> {
        // What came by #PF was injected where the fault was. And where ids are
        // few, one would recur while its ready is on the way.
        let possible = !self.rules.legacy && self.rules.ids == 1 << 20;
        let in_flight = self.cores[core].in_flight.map(|(token, _)| token);
        // The one case that is the watchdog's (`crossing`), and one in which the
        // exception cannot be entered at once (below).
        let from = &self.cores[core];
        let lost = in_flight.is_some() && (self.cores[to].flooded || from.vcpu.is_halting());
        if core == to || !possible || lost || !self.cores[to].host.is_armed() {
            return Ok(());
        }
        let Some(token) = self.cores[core].host.hand_over(nth) else { return Ok(()) };
        self.crossed.push(token);
        self.send(to, token);
        if in_flight == Some(token) {
            // Early. It may overtake its fault, but not by more readies than
            // are remembered: those that come while one exception is entered.
            self.interrupt(to, false)?;
            self.inject_in_flight(core)?;
        }
        Ok(())
    }

    pub fn elsewhere(&self, core: usize) -> Elsewhere {
        let others = self.cores.iter().enumerate().filter(|&(other, _)| other != core);
        let vcpus = others.map(|(_, other)| other.vcpu.clone()).collect();
        Elsewhere { vcpus, interrupted: RefCell::default() }
    }

    /// Who halts looks at its word after an interrupt only.
    pub fn check_interrupted(&mut self, by: usize, elsewhere: &Elsewhere) -> Result<(), String> {
        let interrupted = elsewhere.interrupted.borrow();
        for (id, core) in self.cores.iter().enumerate().filter(|&(id, _)| id != by) {
            let unseen = |w: &&Waiting| !w.released && core.vcpu.slots.get(w.ticket).is_ready(w.ticket);
            if let Some(wait) = core.halting.iter().find(unseen)
                && !interrupted.contains(&CoreId(id as u16))
            {
                return Err(format!("core {by} released {wait:?} on core {id} and did not interrupt it"));
            }
        }
        if interrupted.is_empty() { Ok(()) } else { self.check_step() }
    }

    /// A ready of `token` was delivered: where it belongs, or elsewhere.
    pub fn was_delivered(&self, core: usize, token: Token) -> bool {
        self.cores[core].host.delivered.contains(&token) || self.crossed.contains(&token)
    }
}
