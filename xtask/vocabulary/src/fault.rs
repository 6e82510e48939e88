//! One recorded fault.

use apf_service::record;
use apf_service::time::Tsc;
use serde::{Deserialize, Serialize};

/// One fault's life, in cycles of the time-stamp counter since the sample began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The core it happened on.
    pub core: u16,
    /// The host's name for it.
    pub token: u32,
    /// The instruction that touched the page.
    pub rip: u64,
    /// Whether it waited by halt.
    pub halt: bool,
    /// The #PF was delivered.
    pub fault: u64,
    /// About to block or halt.
    pub parked: u64,
    /// Ready interrupt.
    pub ready: u64,
    /// Wait word set.
    pub released: u64,
    /// Running again.
    pub running: u64,
}

/// A fault on the guest's console, where every byte costs time: its fields in their order,
/// without names.
pub type Row = (u16, u32, u64, bool, [u64; 5]);

impl Fault {
    /// Converts a fault that the service recorded; its times count from `began`.
    #[must_use]
    pub const fn since(began: u64, recorded: &record::Fault) -> Self {
        const fn at(time: Tsc, began: u64) -> u64 {
            time.0.saturating_sub(began)
        }
        Self {
            core: recorded.core.0,
            token: recorded.token.0,
            rip: recorded.rip,
            halt: recorded.halt,
            fault: at(recorded.fault, began),
            parked: at(recorded.parked, began),
            ready: at(recorded.ready, began),
            released: at(recorded.released, began),
            running: at(recorded.running, began),
        }
    }
}

impl From<Row> for Fault {
    fn from((core, token, rip, halt, [fault, parked, ready, released, running]): Row) -> Self {
        Self { core, token, rip, halt, fault, parked, ready, released, running }
    }
}

impl From<Fault> for Row {
    fn from(f: Fault) -> Self {
        (f.core, f.token, f.rip, f.halt, [f.fault, f.parked, f.ready, f.released, f.running])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_counts_from_its_samples_begin_and_survives_its_row() {
        let times = |fault, ready| record::Fault {
            fault: Tsc(fault),
            ready: Tsc(ready),
            rip: 7,
            ..record::Fault::NONE
        };
        let fault = Fault::since(100, &times(130, 90));
        assert_eq!((fault.rip, fault.fault, fault.ready), (7, 30, 0));
        assert_eq!(Fault::from(Row::from(fault)), fault);
    }
}
