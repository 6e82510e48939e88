//! Faults of kernel code with interrupts on, which wait by halt.

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// The kernel's `struct timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i32,
}

/// A page that only the kernel reads.
#[repr(C, align(4096))]
struct Page(Timespec);

#[cfg(target_os = "hermit")]
unsafe extern "C" {
    fn sys_nanosleep(requested: *const Timespec, remaining: *mut Timespec) -> i32;
}

/// Stands in for the kernel's function on other systems, and fails.
///
/// # Safety
/// It has no obligation.
#[cfg(not(target_os = "hermit"))]
unsafe fn sys_nanosleep(_: *const Timespec, _: *mut Timespec) -> i32 {
    -1
}

/// Checks a system call: `sys_nanosleep` reads the time to sleep from an evicted page. It is
/// a microsecond, for which the kernel does not switch tasks.
pub fn check(bench: &Bench) -> Verdict {
    let pages = [0, 1].map(|_| Box::new(Page(Timespec { seconds: 0, nanoseconds: 1000 })));
    let mut pages = pages.iter();
    host::evict();
    let (result, counts) = bench.warm(|| {
        let page = pages.next().expect("a page for each call");
        let before = host::counters();
        // SAFETY: the page holds a timespec; the kernel does not write the remaining time.
        let result = unsafe { sys_nanosleep(&raw const page.0, std::ptr::null_mut()) };
        (result, host::counters().since(&before))
    });
    demand(result == 0, || format!("sys_nanosleep read wrong data: it returned {result}"))?;
    demand(counts.halt_waits > 0, || "the fault did not wait by halt".into())?;
    demand(counts.schedule_waits == 0, || "kernel code waited by schedule".into())?;
    Ok(format!("{} halt wait(s) in sys_nanosleep", counts.halt_waits))
}
