//! The jump from the loader to the kernel.

use core::arch::naked_asm;

use hermit_entry::boot_info::RawBootInfo;

/// Jumps to a Hermit kernel's entry on the kernel's boot stack, with page 0 unmapped.
///
/// # Safety
/// `entry` is the entry point of a loaded and relocated Hermit image, and
/// `boot_info` describes it and this machine.
#[unsafe(naked)]
pub unsafe extern "C" fn enter_kernel(entry: u64, boot_info: &'static RawBootInfo) -> ! {
    naked_asm!(
        "mov qword ptr [rip + pt0], 0",
        "invlpg [0]",
        "mov rax, rdi",
        "mov rdi, rsi", // first argument of `hermit_entry::Entry`
        "xor esi, esi", // second: processor 0
        "lea rsp, [rip + kernel_stack]",
        "jmp rax",
    )
}
