//! `mmap`, interposed: how the pager learns where the guest's RAM is.
//!
//! uhyve maps it in one call. QEMU first reserves more than it needs with `PROT_NONE`, for the
//! alignment, and then maps the RAM over it with `MAP_FIXED`: the second call is the writable one,
//! and so the one that counts. The C library's own mappings (heap, stacks) do not come through here.

use crate::memory::GuestRam;
use apf_vocabulary::PAGE_BYTES;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, off_t, size_t};

/// Less is not taken for a guest's RAM.
const MIN_RAM_BYTES: usize = 64 << 20;

static WATCHING: AtomicBool = AtomicBool::new(false);
static GUEST_RAM: OnceLock<GuestRam> = OnceLock::new();

/// Start to look for the guest's RAM.
pub fn watch() {
    WATCHING.store(true, Ordering::Release);
}

/// The guest's RAM, once the VMM has mapped it.
pub fn guest_ram() -> Option<GuestRam> {
    GUEST_RAM.get().copied()
}

/// Private, because `MADV_DONTNEED` drops nothing from shared memory; not in huge pages, and not
/// a thread's stack.
fn could_be_guest_ram(len: size_t, prot: c_int, flags: c_int) -> bool {
    let wanted = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
    let unwanted = libc::MAP_HUGETLB | libc::MAP_STACK | libc::MAP_GROWSDOWN;
    len >= MIN_RAM_BYTES && prot & libc::PROT_WRITE != 0 && flags & (wanted | unwanted) == wanted
}

/// # Safety
///
/// As for `mmap(2)`.
unsafe fn map(
    addr: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    off: off_t,
) -> *mut c_void {
    // SAFETY: the caller's arguments and obligations, handed on. Sets `errno` as `mmap` does.
    let start = unsafe { libc::syscall(libc::SYS_mmap, addr, len, prot, flags, fd, off) } as *mut c_void;
    if start != libc::MAP_FAILED && WATCHING.load(Ordering::Acquire) && could_be_guest_ram(len, prot, flags) {
        let bytes = len.next_multiple_of(PAGE_BYTES);
        GUEST_RAM.get_or_init(|| GuestRam { start: start.addr(), bytes });
    }
    start
}

/// The C library's `mmap`, for every program and library of the process.
///
/// # Safety
///
/// As for `mmap(2)`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "the test binary keeps the C library's mmap"))]
pub unsafe extern "C" fn mmap(
    addr: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    off: off_t,
) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { map(addr, len, prot, flags, fd, off) }
}

/// `mmap` under the name that programs with explicit 64-bit offsets use.
///
/// # Safety
///
/// As for `mmap(2)`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "the test binary keeps the C library's mmap"))]
pub unsafe extern "C" fn mmap64(
    addr: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    off: off_t,
) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { map(addr, len, prot, flags, fd, off) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{
        MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE,
    };

    #[test]
    fn takes_what_vmms_map_as_guest_ram() {
        let (anonymous, rw) = (MAP_ANONYMOUS | MAP_PRIVATE, PROT_READ | PROT_WRITE);
        assert!(could_be_guest_ram(MIN_RAM_BYTES, rw, anonymous | MAP_NORESERVE), "uhyve");
        assert!(!could_be_guest_ram(2 * MIN_RAM_BYTES, PROT_NONE, anonymous), "QEMU's reservation");
        assert!(could_be_guest_ram(MIN_RAM_BYTES, rw, anonymous | MAP_FIXED), "QEMU's RAM");
        assert!(!could_be_guest_ram(MIN_RAM_BYTES - 1, rw, anonymous));
        assert!(!could_be_guest_ram(MIN_RAM_BYTES, rw, MAP_ANONYMOUS | MAP_SHARED));
        assert!(!could_be_guest_ram(MIN_RAM_BYTES, rw, MAP_PRIVATE), "a file");
    }
}
