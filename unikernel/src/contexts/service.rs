//! Faults of the service thread itself.

use apf_core::protocol::Token;

use super::bench::{Bench, Verdict, config, demand};
use super::hostile::raise;
use crate::host;

/// A token that KVM, which counts its faults from 1, does not use in a run of these checks.
const NOBODYS: Token = Token(0xfff0_0000);

/// Checks the service thread's own faults: all memory is evicted, including its code and
/// stack. A ready event for which nobody waits is its to decide, and it faults before it can.
/// No task of the program holds a guard, so a wait under a guard is the service thread's. It
/// must not wait by schedule, because it ends the waits that the interrupt does not end.
pub fn check(bench: &Bench) -> Verdict {
    let before = host::counters();
    host::evict();
    raise(bench, NOBODYS);
    let right = bench.read(bench.page());
    let counts = host::counters().since(&before);
    // A ready event without its fault leaves the count of outstanding faults one too low.
    bench.restart(config())?;
    demand(right, || "the page has wrong data".into())?;
    demand(counts.schedule_waits > 0, || "no task waited by schedule".into())?;
    demand(counts.halt_guard > 0, || "the service thread did not fault".into())?;
    Ok(format!(
        "the service thread waited {} time(s) by halt, the program {} by schedule",
        counts.halt_guard, counts.schedule_waits
    ))
}
