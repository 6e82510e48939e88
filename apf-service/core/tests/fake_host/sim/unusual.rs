//! Page faults that are no ordinary not-presents.

use apf_core::outcome::{PageFault, Work};
use apf_core::protocol::Token;

use super::step::Place;
use super::world::World;

impl World {
    /// An injection with interrupts off.
    pub fn masked_fault(&mut self, core: usize) -> Result<(), String> {
        let fault = self.view(core, Place::App).page_fault(1, Token(5), false);
        // The guest stops here, with a diagnosis; the schedule may go on.
        (fault == PageFault::BrokenHost(Token(5))).then_some(()).ok_or(format!("IF=0 became {fault:?}"))
    }

    /// The host starts a page-in, and the reason does not reach the guest, which tries again. The host
    /// stops the core until it has the page. Its ready then finds no waiter.
    pub fn hidden_fault(&mut self, index: usize, place: Place, damaged: bool) -> Result<(), String> {
        let guest = &mut self.guests[index];
        // A token that recurs at once would be taken for the program's own fault.
        if self.rules.ids < 1 << 20 {
            return Ok(());
        }
        let Some(token) = guest.host.borrow_mut().start() else { return Ok(()) };
        guest.deceived = true;
        // Or one that recurs after a restore that the guest has not noticed yet.
        let recurs = guest.hidden.replace(token) == Some(token);
        let flags = if damaged { 0x8000_0001 } else { 0 };
        let fault = self.view(index, place).page_fault(flags, token, true);
        self.guests[index].host(|host, area| host.complete_newest(area));
        let retried = fault == PageFault::Return(Work::Nothing) || recurs;
        retried.then_some(()).ok_or(format!("a not-present with flags {flags:#x} became {fault:?}"))
    }

    /// A fault of the program itself.
    pub fn other_fault(&mut self, core: usize, unknown: bool) -> Result<(), String> {
        let flags = if unknown { 0x8000_0001 } else { 0 };
        let fault = self.view(core, Place::App).other_fault(flags);
        (fault == PageFault::NotOurs).then_some(()).ok_or(format!("flags {flags:#x} became {fault:?}"))
    }
}
