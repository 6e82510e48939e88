//! Stall times, summed up from who waits, and compared with the core's.

use apf_core::stats::CoreStats;
use apf_core::time::Tsc;

/// Stall times of one core until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    pub some: u64,
    pub full: u64,
}

impl Stalled {
    /// Compares with what the core counts at this moment.
    pub fn check(self, stats: &CoreStats, clock: u64) -> Result<(), String> {
        let time = stats.stall.read(|| Tsc(clock));
        let counted = Self { some: time.some, full: time.full };
        if counted == self { Ok(()) } else { Err(format!("{self:?}, and the core counts {counted:?}")) }
    }
}
