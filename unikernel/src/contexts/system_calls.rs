//! The buffers of system calls, which wait by schedule: they are brought in before the kernel is entered.

use super::bench::{Bench, Verdict, demand};
use crate::host;

const PAGE: usize = 4096;

/// Two pages that only one call uses. What it reads lies across both.
#[repr(C, align(4096))]
struct Pages([u8; 2 * PAGE]);

/// A system call with arguments in evicted memory.
struct Call {
    name: &'static str,
    /// What is written before the eviction, by address.
    prepare: fn(usize),
    /// The call, with an address before which one page ends and the next starts.
    enter: unsafe fn(usize),
    /// Pages that it brings in.
    pages: u64,
    /// It uses memory of the kernel as well, which may be out.
    uses_kernel: bool,
}

/// Makes each call twice, on fresh pages; the first time brings in code and the kernel's own memory.
/// Each fault on a buffer must wait by schedule, and none by halt.
pub fn check(_: &Bench) -> Verdict {
    let pages: Vec<_> = (0..2 * CALLS.len()).map(|_| Box::new(Pages([0; 2 * PAGE]))).collect();
    let address = |index: usize| (&raw const *pages[index]).expose_provenance() + PAGE;
    for (index, call) in CALLS.iter().enumerate() {
        [2 * index, 2 * index + 1].into_iter().for_each(|at| (call.prepare)(address(at)));
    }
    host::evict();
    for (index, call) in CALLS.iter().enumerate() {
        let mut counts = host::counters();
        for at in [2 * index, 2 * index + 1] {
            let before = host::counters();
            // SAFETY: the pages belong to this call, and were prepared for it.
            unsafe { (call.enter)(address(at)) };
            counts = host::counters().since(&before);
        }
        demand(counts.schedule_waits >= call.pages, || {
            format!("{}: {} of {} pages waited by schedule", call.name, counts.schedule_waits, call.pages)
        })?;
        demand(call.uses_kernel || counts.halt_waits == 0, || {
            format!("{}: {} waits by halt", call.name, counts.halt_waits)
        })?;
    }
    Ok(format!("{} system calls, each with its buffers out", CALLS.len()))
}

#[cfg(not(target_os = "hermit"))]
const CALLS: &[Call] = &[];

#[cfg(target_os = "hermit")]
use hermit::CALLS;

#[cfg(target_os = "hermit")]
mod hermit {
    use super::{Call, PAGE};

    // All arguments are integers and pointers, each in a register.
    unsafe extern "C" {
        fn sys_read(fd: usize, buffer: usize, length: usize) -> isize;
        fn sys_readv(fd: usize, array: usize, count: usize) -> isize;
        fn sys_write(fd: usize, buffer: usize, length: usize) -> isize;
        fn sys_writev(fd: usize, array: usize, count: usize) -> isize;
        fn sys_getdents64(fd: usize, buffer: usize, length: usize) -> isize;
        fn sys_read_entropy(buffer: usize, length: usize, flags: usize) -> isize;
        fn sys_poll(array: usize, count: usize, timeout: usize) -> i32;
        fn sys_ioctl(fd: usize, request: usize, argument: usize) -> i32;
        fn sys_unlink(name: usize) -> i32;
        fn sys_mkdir(name: usize, mode: usize) -> i32;
        fn sys_rmdir(name: usize) -> i32;
        fn sys_opendir(name: usize) -> i32;
        fn sys_open(name: usize, flags: usize, mode: usize) -> i32;
        fn sys_stat(name: usize, stat: usize) -> i32;
        fn sys_lstat(name: usize, stat: usize) -> i32;
        fn sys_fstat(fd: usize, stat: usize) -> i32;
        fn sys_futex_wait(word: usize, expected: usize, timeout: usize, flags: usize) -> i32;
        fn sys_futex_wake(word: usize, count: usize) -> i32;
        fn sys_notify(queue: usize, count: usize) -> i32;
        fn sys_wait(queue: usize) -> i32;
        fn sys_destroy_queue(queue: usize) -> i32;
        fn sys_sem_init(semaphore: usize, shared: usize, value: usize) -> i32;
        fn sys_sem_post(semaphore: usize) -> i32;
        fn sys_sem_trywait(semaphore: usize) -> i32;
        fn sys_sem_destroy(semaphore: usize) -> i32;
        fn sys_nanosleep(requested: usize, remaining: usize) -> i32;
        fn sys_clock_nanosleep(clock: usize, flags: usize, requested: usize, remaining: usize) -> i32;
        fn sys_clock_getres(clock: usize, resolution: usize) -> i32;
        fn sys_clock_gettime(clock: usize, time: usize) -> i32;
        fn sys_gettimeofday(time: usize, zone: usize) -> i32;
        fn sys_secure_rand32(value: usize) -> i32;
        fn sys_secure_rand64(value: usize) -> i32;
    }

    /// No file has this number.
    const NO_FILE: usize = 999;
    const MONOTONIC: usize = 4;
    const FIONBIO: usize = 0x8008_667e;
    const NAME: &[u8] = b"/none/none\0";

    fn nothing(_: usize) {}

    fn put(address: usize, bytes: &[u8]) {
        let to = std::ptr::with_exposed_provenance_mut::<u8>(address);
        // SAFETY: within the two pages of a call, which nobody else uses.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// A name of no file, across the pages' border.
    fn name(at: usize) {
        put(at - 5, NAME);
    }

    /// An array of one buffer, in the first page; the buffer is in the second.
    fn vector(at: usize) {
        put(at - 16, &[at.to_ne_bytes(), 100_usize.to_ne_bytes()].concat());
    }

    /// A structure for [`sys_poll`] across the border; it asks for nothing.
    fn poll(at: usize) {
        put(at - 4, &[NO_FILE as u32, 0].map(u32::to_ne_bytes).concat());
    }

    fn semaphore(at: usize) {
        // SAFETY: memory for it.
        unsafe { sys_sem_init(at, 0, 0) };
    }

    macro_rules! calls {
        ($($call:ident($at:ident $(, $argument:expr)*) $pages:literal $prepare:ident $($uses_kernel:literal)?;)*) => {
            &[$(Call {
                name: stringify!($call),
                prepare: $prepare,
                // SAFETY: the pages are prepared for the call, whose result says nothing here.
                enter: |$at| unsafe { let _ = $call($($argument),*); },
                pages: $pages,
                uses_kernel: false $(|| $uses_kernel)?,
            }),*]
        };
    }

    pub const CALLS: &[Call] = calls! {
        sys_read(at, NO_FILE, at - PAGE, 2 * PAGE) 2 nothing;
        sys_readv(at, NO_FILE, at - 16, 1) 2 vector;
        sys_write(at, NO_FILE, at - PAGE, 2 * PAGE) 2 nothing;
        sys_writev(at, NO_FILE, at - 16, 1) 2 vector;
        sys_getdents64(at, NO_FILE, at - PAGE, 2 * PAGE) 2 nothing;
        sys_read_entropy(at, at - 8, 16, 0) 2 nothing;
        sys_poll(at, at - 4, 1, 0) 2 poll;
        sys_ioctl(at, NO_FILE, FIONBIO, at) 1 nothing;
        sys_unlink(at, at - 5) 2 name;
        sys_mkdir(at, at - 5, 0) 2 name;
        sys_rmdir(at, at - 5) 2 name;
        sys_opendir(at, at - 5) 2 name;
        sys_open(at, at - 5, 0, 0) 2 name;
        sys_stat(at, at - 5, at + 64) 2 name;
        sys_lstat(at, at - 5, at + 64) 2 name;
        sys_fstat(at, NO_FILE, at - 8) 2 nothing;
        sys_futex_wait(at, at, 1, at - 16, 0) 2 nothing;
        sys_futex_wake(at, at, 0) 1 nothing;
        sys_notify(at, at, 1) 1 nothing;
        sys_wait(at, at) 1 nothing;
        sys_destroy_queue(at, at) 1 nothing;
        sys_sem_init(at, at, 0, 0) 1 nothing;
        sys_sem_post(at, at) 1 semaphore true;
        sys_sem_trywait(at, at) 1 semaphore true;
        sys_sem_destroy(at, at) 1 semaphore true;
        sys_nanosleep(at, at - 8, 0) 2 nothing;
        sys_clock_nanosleep(at, MONOTONIC, 0, at - 8, 0) 2 nothing;
        sys_clock_getres(at, MONOTONIC, at - 8) 2 nothing;
        sys_clock_gettime(at, MONOTONIC, at - 8) 2 nothing;
        sys_gettimeofday(at, at - 8, 0) 2 nothing;
        sys_secure_rand32(at, at) 1 nothing;
        sys_secure_rand64(at, at) 1 nothing;
    };
}
