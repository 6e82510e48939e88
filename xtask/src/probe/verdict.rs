//! The place where guests run: as requested, and as decided.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The place that the user requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// This machine's KVM if it runs the guest, else the lab; probed once per start of the
    /// machine
    Auto,
    /// This machine's KVM
    Native,
    /// The lab: real KVM in an emulated machine
    Lab,
}

/// The place where guests run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// On this machine's KVM.
    Native,
    /// In the lab, for this reason.
    Lab { reason: String },
}

impl Verdict {
    /// Returns its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Lab { .. } => "lab",
        }
    }

    /// Returns true if it is the lab.
    pub const fn is_lab(&self) -> bool {
        matches!(self, Self::Lab { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => write!(f, "native: this machine's KVM runs the guest"),
            Self::Lab { reason } => write!(f, "lab: {reason}"),
        }
    }
}
