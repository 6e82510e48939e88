//! Interrupt entries.
//!
//! Both interrupts arrive on interrupt stack 1, which each task has for itself
//! and which the next interrupt reuses from its top. No context may therefore wait
//! on it: the #PF handler moves the wait to the interrupted stack and returns.

use core::arch::naked_asm;
use core::sync::atomic::AtomicU64;

use crate::fault;

/// Address of the kernel's own #PF handler.
pub static PREVIOUS_PAGE_FAULT: AtomicU64 = AtomicU64::new(0);

/// #PF entry.
///
/// ```text
///   ss, rsp, rflags, cs, rip, error code    pushed by the processor; rsp is 16-byte aligned
///   rax rcx rdx rsi rdi r8 r9 r10 r11       caller-saved registers: 72 bytes
///   padding                                 8 bytes, so that the call is aligned
/// ```
///
/// A fault that is not ours reaches the previous handler with stack and
/// registers as they were.
#[unsafe(naked)]
pub extern "C" fn page_fault() {
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11",
        "lea rdi, [rsp + 72]",
        "sub rsp, 8",
        "cld",
        "call {handler}",
        "add rsp, 8",
        "test al, al",
        "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "jz 2f",
        "add rsp, 8",
        "iretq",
        "2:",
        "jmp qword ptr [rip + {previous}]",
        handler = sym fault::on_page_fault,
        previous = sym PREVIOUS_PAGE_FAULT,
    )
}

/// Ready interrupt entry: no error code, so the nine registers alone align
/// the stack. The handler may switch tasks before it returns.
#[unsafe(naked)]
pub extern "C" fn ready() {
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11",
        "cld",
        "call {handler}",
        "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "iretq",
        handler = sym fault::on_ready,
    )
}
