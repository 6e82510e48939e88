//! Access to model-specific registers that the host may refuse.
//!
//! A refusal is a #GP, which ends the program in the kernel's handler. CPUID promises a
//! register, but the promise may not be kept: KVM offers async page faults also where the
//! interrupt controller is not its own, and then refuses them. A guest that was restored may
//! find itself on a host without them.

use core::arch::naked_asm;
use core::sync::atomic::AtomicU64;

/// The #GP handler that was there before.
pub static PREVIOUS_GENERAL_PROTECTION: AtomicU64 = AtomicU64::new(0);

/// Writes `value` to register `msr`; `false` if that was refused.
///
/// # Safety
/// The #GP gate is [`general_protection`], and the host does with `value` what the caller
/// wants.
#[unsafe(naked)]
pub unsafe extern "C" fn write(msr: u32, value: u64) -> bool {
    naked_asm!(
        "mov ecx, edi",
        "mov eax, esi",
        "mov rdx, rsi",
        "shr rdx, 32",
        "jmp {wrmsr}",
        wrmsr = sym wrmsr,
    )
}

/// The instruction of [`write`](write()), at an address that has a name, and its return.
#[unsafe(naked)]
extern "C" fn wrmsr() {
    naked_asm!("wrmsr", "mov eax, 1", "ret")
}

/// Reads register `msr`; `None` if that was refused.
///
/// # Safety
/// The #GP gate is [`general_protection`].
pub unsafe fn read(msr: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: as the caller promises; `value` is this function's own.
    unsafe { read_into(msr, &mut value) }.then_some(value)
}

#[unsafe(naked)]
unsafe extern "C" fn read_into(msr: u32, value: &mut u64) -> bool {
    naked_asm!("mov ecx, edi", "jmp {rdmsr}", rdmsr = sym rdmsr)
}

/// The instruction of [`read_into`], at an address that has a name, and its return.
#[unsafe(naked)]
extern "C" fn rdmsr() {
    naked_asm!("rdmsr", "shl rdx, 32", "or rax, rdx", "mov [rsi], rax", "mov eax, 1", "ret")
}

/// The return of [`write`](write()) and [`read_into`] after a refusal.
#[unsafe(naked)]
extern "C" fn refused() {
    naked_asm!("xor eax, eax", "ret")
}

/// #GP entry: lets [`write`](write()) or [`read_into`] return, if it was its instruction.
///
/// ```text
///   ss, rsp, rflags, cs, rip, error code    pushed by the processor
///   rax                                     8 bytes
/// ```
///
/// Any other #GP reaches the previous handler with stack and registers as they were.
#[unsafe(naked)]
pub extern "C" fn general_protection() {
    naked_asm!(
        "push rax",
        "lea rax, [rip + {wrmsr}]",
        "cmp [rsp + 16], rax",
        "je 3f",
        "lea rax, [rip + {rdmsr}]",
        "cmp [rsp + 16], rax",
        "jne 2f",
        "3:",
        "lea rax, [rip + {refused}]",
        "mov [rsp + 16], rax",
        "pop rax",
        "add rsp, 8",
        "iretq",
        "2:",
        "pop rax",
        "jmp qword ptr [rip + {previous}]",
        wrmsr = sym wrmsr,
        rdmsr = sym rdmsr,
        refused = sym refused,
        previous = sym PREVIOUS_GENERAL_PROTECTION,
    )
}
