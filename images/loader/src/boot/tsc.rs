//! The frequency of the time-stamp counter, from KVM.
//!
//! Kernel 0.11.0 measures all time with this counter. QEMU's CPUID does not have its
//! frequency. Measuring it against the PIT, as the kernel does otherwise, takes 40 ms, and is
//! wrong by half on a host where virtual CPUs do not run all the time. KVM knows it exactly:
//! it follows from the scale of its clock.
//!
//! Source: `Documentation/virt/kvm/x86/msr.rst` (`MSR_KVM_SYSTEM_TIME_NEW`) and
//! `cpuid.rst` in Linux.

use core::arch::x86_64::{__cpuid, CpuidResult};
use core::cell::UnsafeCell;
use core::num::NonZeroU32;

use apf_loader::pvclock::{Clock, kvm_leaf};

const FEATURE_CLOCKSOURCE2: u32 = 1 << 3;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
const ENABLE: u64 = 1;

/// The structure that KVM writes.
struct Area(UnsafeCell<Clock>);

// SAFETY: one processor runs, and it reads only while KVM does not write.
unsafe impl Sync for Area {}

static AREA: Area = Area(UnsafeCell::new(Clock::ZERO));

/// Asks KVM for the frequency in kHz; `None` without KVM or its clock.
pub fn khz() -> Option<NonZeroU32> {
    let leaf = kvm_leaf(|leaf| {
        let CpuidResult { ebx, ecx, edx, .. } = __cpuid(leaf);
        [ebx, ecx, edx]
    })?;
    if __cpuid(leaf + 1).eax & FEATURE_CLOCKSOURCE2 == 0 {
        return None;
    }
    let area = AREA.0.get();
    // SAFETY: CPUID says that the MSR exists. KVM writes the area, which is identity-mapped
    // and aligned, before it resumes this processor, and does not write it after the MSR is
    // zero again.
    let clock = unsafe {
        x86::msr::wrmsr(MSR_SYSTEM_TIME, area.addr() as u64 | ENABLE);
        x86::msr::wrmsr(MSR_SYSTEM_TIME, 0);
        area.read_volatile()
    };
    clock.khz()
}
