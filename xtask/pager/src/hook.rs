//! Interposed `ioctl`, which shows the pager the guest's RAM and the threads of its virtual CPUs.
//!
//! A VMM gives KVM each piece of its guest's RAM as a memory slot: the guest-physical address and the
//! VMM's own. That covers RAM of any size and in any number of pieces. Slots come and go while
//! firmware remaps the first megabyte, so what counts is every writable slot ever made.

use crate::hostile;
use crate::ram::{GuestRam, Piece};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError, RwLock};

use libc::{c_int, c_ulong, c_void};

/// `KVM_SET_USER_MEMORY_REGION` and its successor, which begins with the same fields (linux/kvm.h).
const SET_MEMORY: [c_ulong; 2] = [0x4020_ae46, 0x40a0_ae49];
/// Flag of a slot that the guest cannot write to: ROM.
const READONLY: u32 = 1 << 1;

/// `KVM_RUN`, with which a thread is a virtual CPU.
const RUN: c_ulong = 0xae80;

/// IDs of the threads that have run a virtual CPU.
static VCPUS: RwLock<Vec<u32>> = RwLock::new(Vec::new());
thread_local! {
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
}

static GUEST_RAM: Mutex<GuestRam> = Mutex::new(GuestRam::empty());

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_phys_addr: u64,
    memory_size: u64,
    userspace_addr: u64,
}

/// Returns the RAM that the VMM has given its guest so far.
pub fn guest_ram() -> GuestRam {
    GUEST_RAM.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Records the RAM of a slot that is about to be set. KVM's answer does not matter: a VMM whose
/// slot is refused ends.
fn note(region: MemoryRegion) {
    if region.memory_size > 0 && region.flags & READONLY == 0 {
        let MemoryRegion { guest_phys_addr: guest, memory_size, userspace_addr, .. } = region;
        let piece = Piece { guest, start: userspace_addr as usize, bytes: memory_size as usize };
        GUEST_RAM.lock().unwrap_or_else(PoisonError::into_inner).add(piece);
    }
}

/// Returns true if the thread with this ID, as its own PID namespace has it, has run a virtual CPU.
pub fn is_vcpu(thread: u32) -> bool {
    VCPUS.read().unwrap_or_else(PoisonError::into_inner).contains(&thread)
}

/// Records that this thread runs a virtual CPU.
fn note_vcpu() {
    if !IS_NOTED.replace(true) {
        // SAFETY: the call takes nothing and touches no memory.
        let thread = unsafe { libc::gettid() };
        VCPUS.write().unwrap_or_else(PoisonError::into_inner).push(thread.cast_unsigned());
    }
}

/// Replaces the C library's `ioctl` in the whole process. That function has variable arguments,
/// which x86-64 passes like these.
///
/// # Safety
/// As for `ioctl(2)`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "the test binary keeps the C library's ioctl"))]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    if request == RUN {
        note_vcpu();
        hostile::note_vcpu(fd);
    } else if SET_MEMORY.contains(&request) && !argument.is_null() {
        // SAFETY: the caller passes KVM a pointer to this structure, or to one that begins with it.
        note(unsafe { argument.cast::<MemoryRegion>().read_unaligned() });
        hostile::note_vm(fd);
    }
    // SAFETY: the caller's arguments and obligations. Sets `errno` as `ioctl` does.
    unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_slots_are_ram_and_others_are_not() {
        let slot = |slot, flags, guest_phys_addr, memory_size, userspace_addr| {
            note(MemoryRegion { slot, flags, guest_phys_addr, memory_size, userspace_addr });
        };
        slot(0, 0, 0, 0xa_0000, 0x7000_0000);
        slot(1, READONLY, 0xf_0000, 0x1_0000, 0x7800_0000);
        slot(2, 0, 0, 0, 0);
        // RAM that firmware removes and makes writable again.
        slot(0, 0, 0xa_0000, 0, 0x7000_0000);
        slot(3, 1, 0xc_0000, 0x4_0000, 0x700c_0000);
        let ram = guest_ram();
        assert_eq!(ram.bytes(), 0xe_0000);
        assert_eq!(ram.page_of(0x700c_0000), Some(0xa0));
        assert_eq!(ram.page_of(0x7800_0000), None, "a ROM");
    }

    #[test]
    fn a_thread_that_runs_a_virtual_cpu_is_noted_once() {
        // SAFETY: the call takes nothing and touches no memory.
        let this = unsafe { libc::gettid() }.cast_unsigned();
        assert!(!is_vcpu(this));
        (0..2).for_each(|_| note_vcpu());
        assert!(is_vcpu(this) && !is_vcpu(this + 1));
        assert_eq!(VCPUS.read().unwrap().iter().filter(|&&thread| thread == this).count(), 1);
    }
}
