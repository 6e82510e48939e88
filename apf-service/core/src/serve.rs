//! Decisions of the service thread. They are part of the kernel archive, where the cores'
//! tables are.
//!
//! The thread handles each event that a core cannot match itself: a ready that came on
//! another core than its fault, a lost event, an overdue wait.
#![forbid(unsafe_code)]

use crate::classify::Wait;
use crate::per_core::{Core, Machine};
use crate::remote_ready;
use crate::report::Report;
use crate::watchdog::Retries;

/// Makes the next decision; `None` if there is nothing to decide.
///
/// After a lost ready event all current waiters by schedule are released. Later faults find
/// the token among the early ones.
pub fn serve(machine: &impl Machine) -> Option<Report> {
    // Each core's flag is taken.
    if machine.cores().filter(|core| core.take_overflow()).count() > 0 {
        let now = machine.now();
        let wake = |core: &Core| {
            core.slots.release_all(Some(Wait::Schedule), now, |slot, _| {
                machine.wake(slot);
            })
        };
        return Some(Report::Overflow { waiters: machine.cores().map(|core| wake(core) as u64).sum() });
    }
    let (came_on, event) = machine.cores().find_map(|core| Some((core, core.shared.events.pop()?)))?;
    let others = machine.cores().filter(|core| core.id != came_on.id).map(|core| (core, &core.slots));
    let token = event.token;
    let Some((core, slot, wait)) = remote_ready::release(others, token, event.at, machine.now()) else {
        return Some(Report::Unmatched { came_on: came_on.id, token });
    };
    let (_, rip) = slot.origin();
    match wait {
        Wait::Schedule => drop(machine.wake(slot)),
        Wait::Halt | Wait::HaltFirst => machine.interrupt(core.id),
    }
    came_on.shared.early.take(token, event.generation, machine.early());
    Some(Report::Matched { core: core.id, came_on: came_on.id, token, rip })
}

/// Retries waits by schedule that are overdue, as many as `retries` allows. The last report is
/// [`Report::Late`] if others are spared for now. If the page is there, the access goes through, and if
/// not, it faults again, or the host stops the core: the page is under way already, and a second touch
/// is no second async fault ([`Watchdog`](crate::watchdog::Watchdog)).
/// Waits by halt have their own limit ([`Core::halt_limit`]).
pub fn retry_overdue(machine: &impl Machine, retries: Retries) -> impl Iterator<Item = Report> {
    let mut left = retries.most;
    core::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let report = retry_one(machine, retries);
        if !matches!(report, Some(Report::Overdue { .. })) {
            left = 0;
        }
        report
    })
}

fn retry_one(machine: &impl Machine, retries: Retries) -> Option<Report> {
    let now = machine.now();
    let overdue = machine.cores().find_map(|core| {
        let limit = if machine.has_work(core.id) { retries.beside_work } else { retries.overdue };
        Some((core, core.slots.release_overdue(now, limit)?))
    });
    let Some((core, slot)) = overdue else {
        let late = machine.cores().find(|core| core.slots.has_overdue(now, retries.overdue));
        return late.map(|core| Report::Late { core: core.id });
    };
    let ((token, rip), waited) = (slot.origin(), now.since(slot.since()));
    machine.wake(slot);
    Some(Report::Overdue { core: core.id, token, rip, waited })
}
