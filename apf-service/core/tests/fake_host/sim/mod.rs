//! A fake host and fake cores around the real service: deterministic, and in
//! any order of events.
//!
//! | file | holds |
//! |---|---|
//! | `step` | what can happen, and in which kind of world |
//! | `host` | KVM's side |
//! | `core` | one core, and what its tasks wait for |
//! | `world` | all cores and the service thread, driven step by step |
//! | `crossing` | readies that arrive on another core |
//! | `check` | what must hold, after each step and in the end |

mod check;
mod core;
mod crossing;
mod host;
pub mod step;
mod world;

use step::{Rules, Step};

/// Runs a schedule to its end, and until everything owed has been delivered.
///
/// # Errors
/// The invariant that did not hold.
pub fn run(rules: Rules, steps: &[Step]) -> Result<(), String> {
    let mut world = world::World::new(rules);
    for &step in steps {
        world.apply(step)?;
    }
    world.settle()
}
