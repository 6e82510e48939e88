//! The service thread's own faults.

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// More than the interrupt keeps back from the service thread.
const READS: usize = 2 * apf_service::OUTSTANDING_PER_VCPU;

/// Everything is paged out, the service thread's code, stack and table
/// included. Of waits that the ready interrupt ends itself it is told after a
/// while, and then it faults before it can turn to an event. No task of the program
/// holds a guard, so what waits under one is the service thread: waits that the
/// interrupt does not end are its to end, and so it does not wait by schedule.
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
