//! One recorded fault.

use apf_core::record;
use apf_core::time::Tsc;
use serde::{Deserialize, Serialize};

/// One fault, in cycles of the time-stamp counter since the sample began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Core on which it happened.
    pub core: u16,
    /// Token by which the host names it.
    pub token: u32,
    /// Address of the instruction that touched the page.
    pub rip: u64,
    /// True if it waited by halt, false by schedule.
    pub halt: bool,
    /// Delivery of the #PF.
    pub fault: u64,
    /// Start of the wait.
    pub parked: u64,
    /// Ready interrupt.
    pub ready: u64,
    /// Release of the waiter: its wait word is set.
    pub released: u64,
    /// End of the wait: the task runs again.
    pub running: u64,
}

/// A fault on the guest's console, where every byte costs time: its fields in their order,
/// without names.
pub type Row = (u16, u32, u64, bool, [u64; 5]);

impl Fault {
    /// Converts a fault that the service recorded; its times count from `began`.
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
    fn a_fault_counts_from_the_start_of_its_sample_and_survives_its_row() {
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
