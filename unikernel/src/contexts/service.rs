//! Faults of the service thread itself.

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// More events than the interrupt keeps back from the service thread.
const READS: usize = 2 * apf_service::OUTSTANDING_PER_VCPU;

/// Checks the service thread's own faults: all memory is evicted, including its code, stack
/// and table. Waits that the ready interrupt ends are reported to it later, in a batch, and
/// then it faults before it can handle an event. No task of the program holds a guard, so a
/// wait under a guard is the service thread's. It must not wait by schedule, because it ends
/// the waits that the interrupt does not end.
pub fn check(bench: &Bench) -> Verdict {
    let before = host::counters();
    host::evict();
    let right = (0..READS).all(|_| bench.read(bench.page()));
    let counts = host::counters().since(&before);
    demand(right, || "a page has wrong data".into())?;
    demand(counts.schedule_waits > 0, || "no task waited by schedule".into())?;
    demand(counts.halt_guard > 0, || "the service thread did not fault".into())?;
    Ok(format!(
        "the service thread waited {} time(s) by halt, the program {} by schedule",
        counts.halt_guard, counts.schedule_waits
    ))
}
