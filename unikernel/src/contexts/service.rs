//! The service thread's own faults.

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// Number of reads: more events than the interrupt keeps back from the service thread.
const READS: usize = 2 * apf_service::OUTSTANDING_PER_VCPU;

/// Checks that the service thread waits by halt. Everything is evicted, its code, stack and
/// table included. It learns later about waits that the ready interrupt ended itself, and
/// faults before it handles the first event. No task of the program holds a guard, so every
/// wait under a guard is its own. It must not wait by schedule, since it ends the waits that
/// the interrupt does not end.
pub fn check(bench: &Bench) -> Verdict {
    let before = host::counters();
    host::evict();
    let right = (0..READS).all(|_| bench.read(bench.page()));
    let counts = host::counters().since(&before);
    demand(right, || "a page came back wrong".into())?;
    demand(counts.schedule_waits > 0, || "nobody waited by schedule".into())?;
    demand(counts.halt_guard > 0, || "the service thread did not fault".into())?;
    Ok(format!(
        "the service thread waited {} time(s) by halt, the program {} by schedule",
        counts.halt_guard, counts.schedule_waits
    ))
}
