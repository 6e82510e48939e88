//! Arming and disarming, and a VMM that restores the guest.

use apf_core::protocol::Token;

use super::step::Place;
use super::world::World;

impl World {
    /// As `arm` of `apf-kernel` does it.
    pub fn arm(&mut self, core: usize) {
        let view = self.view(core, Place::App);
        let guest = &mut self.guests[core];
        // Only a host that injects while disarmed leaves anyone here.
        guest.excuse(|_| true);
        guest.core.begin(&view);
        guest.lost = false;
        guest.host(|host, area| host.arm(area));
    }

    /// The VMM writes the enable register of a running guest.
    pub fn write_enable_again(&mut self, core: usize) -> Result<(), String> {
        // An exception is entered before the interrupt. If its ready came first, the guest has
        // forgotten that by then, and only a limit ends its wait.
        self.inject_in_flight(core)?;
        self.guests[core].deceived |= self.guests[core].in_flight.is_some();
        self.send(core, Token::WAKE_ALL);
        Ok(())
    }

    /// The VMM of another host restores the guest.
    pub fn restore(&mut self, lost: Option<usize>) -> Result<(), String> {
        for core in 0..self.guests.len() {
            self.inject_in_flight(core)?;
        }
        if self.guests.iter().any(|guest| guest.in_flight.is_some()) {
            return Ok(());
        }
        for (core, guest) in self.guests.iter_mut().enumerate() {
            let lost = lost == Some(core) && guest.host.borrow().is_armed();
            guest.lost |= lost;
            guest.deceived |= guest.lost;
            guest.host(|host, area| host.restore(self.rules.first_id, lost, area));
        }
        Ok(())
    }

    /// As `check` of `apf-kernel` does it, in a task on that core.
    pub fn check(&mut self, core: usize) -> Result<(), String> {
        let view = self.view(core, Place::App);
        let guest = &mut self.guests[core];
        if !guest.halting.is_empty() || guest.in_flight.is_some() {
            return Ok(());
        }
        if guest.lost {
            self.arm(core);
        } else if guest.host.borrow().is_armed() {
            let wake_alls = guest.core.stats.wake_all.get();
            guest.core.take_delayed(&view);
            if guest.core.stats.wake_all.get() > wake_alls {
                guest.excuse(|_| true);
            }
        }
        self.check_interrupted(&view)
    }

    /// As `disarm` of `apf-kernel` does it: in a task on that core, so not while a context
    /// halts there or an exception is in flight.
    pub fn disarm(&mut self, core: usize) -> Result<(), String> {
        let view = self.view(core, Place::App);
        let guest = &mut self.guests[core];
        if !guest.host.borrow().is_armed() || !guest.halting.is_empty() || guest.in_flight.is_some() {
            return Ok(());
        }
        let of_others = guest.host.borrow_mut().disarm();
        guest.core.end(&view);
        guest.excuse(|_| true);
        if let Some(wait) = guest.waits().find(|w| !guest.core.slots.get(w.ticket).is_ready(w.ticket)) {
            return Err(format!("disarming left {wait:?} waiting"));
        }
        for token in of_others {
            let home = (token.0 & 0xfff) as usize;
            if self.guests.get(home).is_some_and(|guest| guest.host.borrow().is_armed()) {
                self.send(home, token);
            }
        }
        self.check_interrupted(&view)
    }
}
