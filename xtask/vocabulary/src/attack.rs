//! Attacks of a hostile host on a guest's async page faults, which tests ask for.

use serde::{Deserialize, Serialize};

/// One attack. It continues until the next one is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// None: the host is honest.
    #[default]
    None,
    /// Takes each ready token away before the guest reads it.
    Lose,
    /// Puts a token of its own into the area without an interrupt, so that KVM delivers nothing.
    Withhold,
    /// Takes ready tokens away and delivers them late, in the opposite order.
    Reorder,
    /// Delivers each ready token a second time.
    Repeat,
    /// Delivers tokens of no fault.
    Invent,
    /// Writes garbage over the reason of each fault that KVM injects, and between faults.
    Flags,
    /// Clears the reason of each fault that KVM injects.
    Hide,
    /// Raises the ready interrupt without a token.
    Empty,
    /// Raises the ready interrupt every 30 µs, without a token.
    Flood,
    /// Delivers tokens of no fault, each as soon as the guest has taken the one before, for half of the time.
    Overrun,
}
