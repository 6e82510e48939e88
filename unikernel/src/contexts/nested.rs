//! Nested faults: one occurs while another waits by halt.

use std::hint::black_box;

use apf_service::NonPreemptible;
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, demand};
use super::stack::{ENTRY, RED_ZONE, read_with};
use crate::host;
use apf_vocabulary::PAGE_BYTES as PAGE;

/// Pages for stacks: each access has two of its own.
const PAGES: usize = 8;

#[repr(C, align(4096))]
struct Stacks([[u8; PAGE]; PAGES]);

/// Checks a nested fault. The wait's entry on the stack just fits above a page boundary, so
/// that the wait itself starts on the page below:
///
/// ```text
///   rsp at the access ──► red zone
///                         argument, rflags, rip   stored by the handler
///   ───────────────────── page boundary ─────────────────────────────────
///                         rax, rcx, …             pushed by the wait: evicted
/// ```
///
/// The access is one instruction that touches one evicted page and no stack; the handler
/// stores with interrupts off, where the host does not inject. So if the page below is
/// resident, one halt wait is counted; if it is evicted, there is a second one, the wait's
/// own, nested in the first.
pub fn check(bench: &Bench) -> Verdict {
    let mut stacks = Box::new(Stacks([[0; PAGE]; PAGES]));
    let stacks = black_box(&mut stacks.0).as_flattened_mut().as_mut_ptr();
    host::evict();
    let mut lower_pages = (0..PAGES).step_by(2);
    let mut access = |lower_is_out: bool| {
        let lower = stacks.wrapping_add(lower_pages.next().expect("two pages for each access") * PAGE);
        let boundary = lower.wrapping_add(PAGE);
        // SAFETY: both pages are the stacks' own. The writes bring them in.
        unsafe {
            boundary.write_volatile(1);
            if !lower_is_out {
                lower.write_volatile(1);
            }
        }
        let (address, right) = bench.word();
        let guard = NonPreemptible::enter();
        let before = host::counters();
        // SAFETY: a word of the region; a page of stack below the entry.
        let word = unsafe { read_with(boundary.wrapping_add(RED_ZONE + ENTRY), address) };
        let counts = host::counters().since(&before);
        drop(guard);
        (word == right, counts)
    };
    let (right, plain): (bool, Counters) = bench.warm(|| access(false));
    let (nested_right, nested) = bench.warm(|| access(true));
    demand(right && nested_right, || "a page has wrong data".into())?;
    demand(plain.schedule_waits + nested.schedule_waits == 0, || {
        "a fault under a guard waited by schedule".into()
    })?;
    demand(plain.halt_waits == 1, || {
        format!(
            "{} halt waits with a resident stack, not 1, so the other count shows nothing",
            plain.halt_waits
        )
    })?;
    demand(nested.halt_waits >= 2, || {
        format!("{} halt wait(s) with the wait's own stack evicted, not 2", nested.halt_waits)
    })?;
    Ok(format!(
        "{} halt wait for an access, {} with the wait's own stack evicted: it faulted while it waited",
        plain.halt_waits, nested.halt_waits
    ))
}
