//! The service thread's own faults.

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// Everything is paged out, the service thread's code, stack and table
/// included. The first event wakes it, and it faults before it can turn to the
/// event. No task of the program holds a guard, so what waits under one is the
/// service thread: nobody could release it if it waited by schedule, and the
/// check would hang.
pub fn check(bench: &Bench) -> Verdict {
    let before = host::counters();
    host::evict();
    let right = bench.read(bench.page()) && bench.read(bench.page());
    let counts = host::counters().since(&before);
    demand(right, || "a page came back wrong".into())?;
    demand(counts.schedule_waits > 0, || "nobody waited for the service thread".into())?;
    demand(counts.halt_guard > 0, || "the service thread did not fault".into())?;
    Ok(format!(
        "the service thread waited {} time(s) by halt, the program {} by schedule",
        counts.halt_guard, counts.schedule_waits
    ))
}
