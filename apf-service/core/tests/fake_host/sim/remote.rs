//! Ready tokens that arrive on another core than their fault.

use std::cell::RefCell;

use apf_core::event::CoreId;
use apf_core::protocol::Token;

use super::guest::{View, Waiting};
use super::step::Place;
use super::world::World;

impl World {
    /// The page of a fault is back, and core `to` gets its ready.
    pub fn complete_elsewhere(&mut self, core: usize, nth: u8, to: usize) -> Result<(), String> {
        // What came by #PF was injected where the fault was. And where ids are
        // few, one would recur while its ready is on the way.
        let possible = !self.rules.legacy && self.rules.ids == 1 << 20;
        let from = &self.guests[core];
        let in_flight = from.in_flight.map(|(token, _)| token);
        // An exception that cannot be entered at once (below).
        let stuck = in_flight.is_some() && from.core.is_halting();
        if core == to || !possible || stuck || !self.guests[to].host.borrow().is_armed() {
            return Ok(());
        }
        let Some(token) = from.host.borrow_mut().hand_over(nth) else { return Ok(()) };
        self.crossed.push(token);
        self.send(to, token);
        if in_flight == Some(token) {
            // Early. It may overtake its fault, but not by more ready tokens than
            // are remembered: those that come while one exception is entered.
            self.interrupt(to, false)?;
            self.inject_in_flight(core)?;
        }
        Ok(())
    }

    /// Returns the machine as the handler on core `this` sees it that interrupts `place`.
    pub fn view(&mut self, this: usize, place: Place) -> View {
        View {
            now: self.tick(),
            cores: self.guests.iter().map(|guest| guest.core.clone()).collect(),
            early: self.early.clone(),
            host: self.guests[this].host.clone(),
            this,
            place,
            interrupted: RefCell::default(),
            called: self.called.clone(),
        }
    }

    /// Whoever halts looks at its word after an interrupt only.
    pub fn check_interrupted(&mut self, view: &View) -> Result<(), String> {
        let interrupted = view.interrupted.borrow();
        for (id, guest) in self.guests.iter().enumerate().filter(|&(id, _)| id != view.this) {
            let unseen = |w: &&Waiting| !w.released && guest.core.slots.get(w.ticket).is_ready(w.ticket);
            if let Some(wait) = guest.halting.iter().find(unseen)
                && !interrupted.contains(&CoreId(id as u16))
            {
                return Err(format!(
                    "core {} released {wait:?} on core {id} and did not interrupt it",
                    view.this
                ));
            }
        }
        if interrupted.is_empty() { Ok(()) } else { self.check_step() }
    }

    /// A ready of `token` was delivered: where it belongs, or elsewhere.
    pub fn was_delivered(&self, core: usize, token: Token) -> bool {
        self.guests[core].host.borrow().delivered.contains(&token) || self.crossed.contains(&token)
    }
}
