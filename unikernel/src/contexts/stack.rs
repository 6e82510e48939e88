//! A memory access with another stack pointer.

use std::arch::asm;

/// Bytes of the red zone, below the interrupted stack pointer, which a wait does not change.
pub const RED_ZONE: usize = 128;
/// Bytes that the handler stores below it for the wait (`redirect` in the kernel side's
/// `entry`).
pub const ENTRY: usize = 24;

/// Reads the word at `address` with the stack pointer at `stack`.
///
/// # Safety
/// `address` holds a word. Below the red zone of `stack` there is unused memory with room for
/// a wait.
pub unsafe fn read_with(stack: *mut u8, address: *const u64) -> u64 {
    let mut word = address as u64;
    // SAFETY: nothing is pushed while the stack pointer is changed, and in this kernel
    // interrupts have their own stack.
    unsafe {
        asm!(
            "mov {saved}, rsp",
            "mov rsp, {stack}",
            "mov {word}, [{word}]",
            "mov rsp, {saved}",
            saved = out(reg) _,
            stack = in(reg) stack,
            word = inout(reg) word,
        );
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_with_reads_the_word_and_does_not_change_the_stack() {
        let mut stack = [7_u8; 8192];
        let word = 0x1234_5678_9abc_def0;
        let middle = stack.as_mut_ptr().wrapping_add(4096);
        // SAFETY: half of the array is below; no signal handler runs.
        assert_eq!(unsafe { read_with(middle, &raw const word) }, word);
        assert!(stack[4096 - RED_ZONE..].iter().all(|&byte| byte == 7));
    }
}
