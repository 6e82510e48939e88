//! Interrupt flag and time-stamp counter.

use core::arch::asm;

use apf_core::time::Tsc;

/// Reads the time-stamp counter.
#[inline]
pub fn now() -> Tsc {
    // SAFETY: every x86-64 processor has a time-stamp counter, and KVM lets
    // guests read it.
    Tsc(unsafe { core::arch::x86_64::_rdtsc() })
}

/// Runs `f` with interrupts off, and turns them on: every caller had them on.
pub fn without_interrupts<R>(f: impl FnOnce() -> R) -> R {
    disable_interrupts();
    let result = f();
    enable_interrupts();
    result
}

/// Turns interrupts off; the caller turns them on again.
pub fn disable_interrupts() {
    // SAFETY: interrupts that are off a little longer are only late.
    unsafe { asm!("cli", options(nostack)) };
}

/// Turns interrupts on; the caller had them on before it turned them off.
pub fn enable_interrupts() {
    // SAFETY: see above, they were on.
    unsafe { asm!("sti", options(nostack)) };
}

/// Turns interrupts on and halts until the next one. The interrupt shadow of `sti`
/// covers the `hlt`, so none comes between.
pub fn enable_interrupts_and_halt() {
    // SAFETY: see above, they were on.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}
