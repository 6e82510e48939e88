//! A fake host and fake cores around the real service: deterministic, and in
//! any order of events.
//!
//! | file | holds |
//! |---|---|
//! | `step` | the things that can happen, and the kinds of world |
//! | `host` | KVM's side |
//! | `guest` | one core, its waits, and the machine around it |
//! | `world` | all cores, driven step by step |
//! | `service` | the service thread |
//! | `lives` | arming, disarming, a VMM that restores the guest |
//! | `remote` | ready tokens that arrive on another core |
//! | `unusual` | page faults that are no ordinary not-presents |
//! | `stall` | stall times, summed up independently |
//! | `check` | invariants, after each step and in the end |

mod check;
mod guest;
mod host;
mod lives;
mod remote;
mod service;
mod stall;
pub mod step;
mod unusual;
pub mod world;

use step::{Rules, Step};
use world::Tally;

/// Runs a schedule to its end, and until everything owed has been delivered.
///
/// # Errors
/// The invariant that did not hold.
pub fn run(rules: Rules, steps: &[Step]) -> Result<Tally, String> {
    let mut world = world::World::new(rules);
    for &step in steps {
        world.apply(step)?;
    }
    world.settle()
}
