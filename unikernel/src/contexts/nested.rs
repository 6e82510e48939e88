//! A fault while another waits by halt.

use std::arch::asm;
use std::ops::Range;

use apf_service::NonPreemptible;

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// Words of stack that are looked at: more than the wait path needs, nested
/// some times.
const WORDS: usize = 2048;
/// The wait's argument has this bit if it is a halt (`kernel::wait`).
const HALT: u64 = 1 << 32;
/// RFLAGS: bit 1 is always set, bit 9 enables interrupts.
const FLAGS: u64 = 1 << 1 | 1 << 9;

/// The first fault after an eviction waits by halt, and the path of that wait
/// is out as well: its code, its slots, its stack.
///
/// Each wait begins on the interrupted stack with the words *argument, RFLAGS,
/// RIP* (`kernel::entry::redirect`). The waiting code here is a few
/// instructions of the application that use no stack. So an entry with a RIP in
/// kernel text can only come from a fault of the wait path, and lies below the
/// entry of the wait that it nests in.
///
/// ```text
///   rsp of the waiting code ──► red zone
///                               argument, rflags, rip in this program
///                               … registers and frames of the first wait
///                               red zone
///                               argument, rflags, rip in kernel text   ◄ looked for
/// ```
pub fn check(_: &Bench) -> Verdict {
    let mut stack = vec![0_u64; WORDS];
    let guard = NonPreemptible::enter();
    let before = host::counters();
    let request = host::begin_evict();
    let (word, value) = host::acknowledged_by(request);
    // SAFETY: clears the stack below the red zone, which nobody uses; waits
    // for the host's answer; copies that part of the stack out, below which no
    // call has been made meanwhile. `stack` is WORDS words long. The interrupt
    // frames of this kernel are on stacks of their own.
    unsafe {
        asm!(
            "lea {low}, [rsp - 128 - 8 * {words}]",
            "mov rdi, {low}",
            "mov ecx, {words}",
            "xor eax, eax",
            "rep stosq",
            // Within one page, so that the loop itself faults once.
            ".p2align 5",
            "2:",
            "pause",
            "cmp [{word}], {value}",
            "jb 2b",
            "mov rsi, {low}",
            "mov rdi, {copy}",
            "mov ecx, {words}",
            "rep movsq",
            low = out(reg) _,
            word = in(reg) word,
            value = in(reg) value,
            copy = in(reg) stack.as_mut_ptr(),
            words = const WORDS,
            out("rax") _, out("rcx") _, out("rsi") _, out("rdi") _,
        );
    }
    let counts = host::counters().since(&before);
    drop(guard);
    host::finish(request);
    let entries = entries(&stack, &kernel_text());
    demand(counts.halt_waits >= 2, || format!("{} halt wait(s)", counts.halt_waits))?;
    demand(entries > 0, || {
        format!("{} halt waits, but no trace on the stack of one within another", counts.halt_waits)
    })?;
    Ok(format!("{} halt waits; entries of {entries} nested ones found on the stack", counts.halt_waits))
}

/// How many entries of halt waits whose fault was in `kernel_text`.
fn entries(stack: &[u64], kernel_text: &Range<u64>) -> usize {
    let is_entry =
        |w: &&[u64]| w[0] >> 32 == HALT >> 32 && w[1] & FLAGS == FLAGS && kernel_text.contains(&w[2]);
    stack.windows(3).filter(is_entry).count()
}

/// The addresses of the kernel's code, made by the linker.
#[cfg(target_os = "hermit")]
fn kernel_text() -> Range<u64> {
    unsafe extern "C" {
        static __start_hermit_kernel_text: u8;
        static __stop_hermit_kernel_text: u8;
    }
    (&raw const __start_hermit_kernel_text) as u64..(&raw const __stop_hermit_kernel_text) as u64
}

#[cfg(not(target_os = "hermit"))]
fn kernel_text() -> Range<u64> {
    0..0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halt_waits_of_kernel_text_count() {
        let text = 0x1000..0x2000;
        let entry = |argument, rip| [0, argument, FLAGS | 1, rip, 7];
        assert_eq!(entries(&entry(HALT | 300, 0x1800), &text), 1);
        assert_eq!(entries(&entry(HALT | 300, 0x2000), &text), 0, "application");
        assert_eq!(entries(&entry(300, 0x1800), &text), 0, "schedule");
        assert_eq!(entries(&[HALT, 0, 0x1800], &text), 0, "flags that no context has");
    }
}
