//! Transition from the #PF handler to the wait on the interrupted stack.

use core::arch::naked_asm;

use crate::wait;

/// Frame that the processor pushes at a #PF (Intel SDM vol. 3, "Exception- or
/// Interrupt-Handler Procedures").
#[repr(C)]
pub struct PageFaultFrame {
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Bytes below the stack pointer that the application may use (System V ABI).
const RED_ZONE: u64 = 128;

/// Makes the return from `frame` enter [`wait_entry`] on the interrupted stack:
///
/// ```text
///   interrupted rsp ──►
///                       red zone, 128 bytes, untouched
///                       rip                              ◄ popped by `ret 128`
///                       rflags                           ◄ popped by `popfq`
///   new rsp ──────────► argument of `wait::wait`
/// ```
///
/// The stores themselves may hit an evicted page. With IF=0 the host does
/// not inject, but stops the core until the page is there.
pub fn redirect(frame: &mut PageFaultFrame, argument: u64) {
    const TRAP_AND_DIRECTION: u64 = (1 << 8) | (1 << 10);
    let stack = frame.rsp - RED_ZONE - 24;
    // SAFETY: the 24 bytes lie below the interrupted context's red zone, in
    // its own stack, where an interrupt without IST would have stored too.
    unsafe { (stack as *mut [u64; 3]).write_unaligned([argument, frame.rflags, frame.rip]) };
    frame.rsp = stack;
    frame.rip = wait_entry as *const () as u64;
    frame.rflags &= !TRAP_AND_DIRECTION;
}

/// Runs on the interrupted stack with interrupts on, as an ordinary function
/// that the interrupted instruction seems to have called: it saves every
/// integer register (the FPU belongs to the task and is switched with it),
/// waits, and returns to the instruction, which then finds its page.
#[unsafe(naked)]
extern "C" fn wait_entry() {
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, [rsp + 15 * 8]",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {wait}",
        "mov rsp, rbp",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
        "lea rsp, [rsp + 8]",
        "popfq",
        "ret {red_zone}",
        wait = sym wait::wait,
        red_zone = const RED_ZONE,
    )
}
