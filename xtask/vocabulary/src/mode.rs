//! Ways in which faults wait.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Way in which the guest's faults wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The service is off: the host stops the core at each fault.
    Blocked,
    /// The service is on, and every wait is a halt.
    Halt,
    /// The service is on, and waits as it does by default.
    Async,
    /// A Linux guest whose kernel's async page faults are off.
    LinuxBlocked,
    /// A Linux guest whose kernel's async page faults are on.
    LinuxAsync,
}

impl Mode {
    /// All modes, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Blocked, Self::Halt, Self::Async, Self::LinuxBlocked, Self::LinuxAsync];

    /// Name in commands and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Halt => "halt",
            Self::Async => "async",
            Self::LinuxBlocked => "linux-blocked",
            Self::LinuxAsync => "linux-async",
        }
    }

    /// Returns true if the guest is Linux.
    pub const fn is_linux(self) -> bool {
        matches!(self, Self::LinuxBlocked | Self::LinuxAsync)
    }

    /// Returns true if other tasks run while one waits for its page.
    pub const fn overlaps(self) -> bool {
        matches!(self, Self::Async | Self::LinuxAsync)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| format!("`{name}` is no mode: choose from {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_the_same_name_in_commands_and_documents() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        assert!("asink".parse::<Mode>().unwrap_err().contains("blocked, halt, async"));
    }
}
