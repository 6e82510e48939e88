//! The place where guests run: asked for, and decided.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The place where guests are to run, as the user asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// Probe this machine's KVM, once per start of the machine, and take the lab if it does
    /// not run the guest
    Auto,
    /// This machine's KVM
    Native,
    /// Real KVM in an emulated machine
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
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Lab { .. } => "lab",
        }
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
