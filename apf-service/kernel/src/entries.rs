//! The system calls as a program enters them: its buffers are brought in before the kernel uses them.
//!
//! ```text
//!   program ──► entry                               ──► the kernel's function
//!               application code: a fault here          kernel code, for some with interrupts off:
//!               waits by schedule                       a fault here halts or stops the core
//! ```
//!
//! The build of the archive gives each entry the name of its system call (`sys_read`), and the
//! kernel's function another (`kernel_sys_read`), for the kernel alone. Entries lie in a section of
//! their own, outside the kernel's text. So they must call nothing but the kernel's function: what
//! they need is inlined, and the build checks that.
//!
//! A touch is a read of one byte in each page. It brings the page in for writing as well, as KVM
//! asks the host for a writable page. A pointer that is null is left to the kernel, which
//! accepts it in some calls. A page may go out again before the kernel uses it; that is as it was without
//! the entry.

use core::ptr::with_exposed_provenance as pointer;

use apf_core::bring_in::each_page;

/// Most bytes that are brought in at once, so that the first do not go out again before they are
/// used. No datagram is longer.
const PIECE: usize = 64 * 1024;

/// Reads a byte, so that its page is in.
#[inline(always)]
fn touch(address: usize) -> u8 {
    // SAFETY: the caller of the system call passes memory that the kernel may read.
    unsafe { pointer::<u8>(address).read_volatile() }
}

#[inline(always)]
fn bytes(start: usize, length: usize) {
    if start != 0 {
        for address in each_page(start, length) {
            touch(address);
        }
    }
}

/// Brings in a structure of `size` bytes, at most a page.
#[inline(always)]
fn object(start: usize, size: usize) {
    if start != 0 {
        touch(start);
        touch(start + size - 1);
    }
}

/// Brings in the first of what is to be read or written in pieces; returns its length.
#[inline(always)]
fn first_piece(start: usize, length: usize) -> usize {
    let length = if length < PIECE { length } else { PIECE };
    bytes(start, length);
    length
}

/// Brings in a string that ends with 0.
#[inline(always)]
fn string(start: usize) {
    let mut at = start;
    while start != 0 && touch(at) != 0 {
        at += 1;
    }
}

/// Brings in a word that holds a length of 32 bits, and as much from `start`.
#[inline(always)]
fn sized(start: usize, length: usize) {
    object(length, INT);
    if length != 0 {
        // SAFETY: as for `touch`. It may not be aligned.
        bytes(start, unsafe { pointer::<u32>(length).read_unaligned() } as usize);
    }
}

/// Brings in an array of `struct iovec` and the buffers that it names.
#[inline(always)]
fn vectors(start: usize, count: usize) {
    /// The kernel takes no more.
    const MOST: usize = 1024;
    if start == 0 || count > MOST {
        return;
    }
    bytes(start, count * 16);
    for vector in 0..count {
        // SAFETY: as for `touch`: an array of so many, each of a pointer and a length.
        let [buffer, length] = unsafe { pointer::<[usize; 2]>(start).add(vector).read_unaligned() };
        bytes(buffer, length);
    }
}

/// Writes piece after piece with `write`, which gets a piece's start and length. As without pieces, all
/// is written unless there is no room for it; after an error, the length of what was written before.
#[inline(always)]
fn in_pieces(start: usize, length: usize, write: impl Fn(usize, usize) -> usize) -> usize {
    let mut done = 0;
    loop {
        let piece = first_piece(start + done, length - done);
        let wrote = write(start + done, piece).cast_signed();
        if wrote < 0 && done > 0 {
            return done;
        }
        if wrote < piece.cast_signed() || done + piece == length {
            return done.wrapping_add_signed(wrote);
        }
        done += piece;
    }
}

/// Defines the entry of a call. In `$body` the call's name is the kernel's function.
macro_rules! entry {
    ($name:ident($($argument:ident),*) $body:block) => {
        #[unsafe(export_name = concat!("apf_entry_", stringify!($name)))]
        #[unsafe(link_section = concat!(".apf_entry.", stringify!($name)))]
        unsafe extern "C" fn $name($($argument: usize),*) -> usize {
            unsafe extern "C" {
                // Arguments and results are integers and pointers, each of which this ABI passes in a
                // register, narrow ones too, so it does not matter that some are no `usize`.
                fn $name($($argument: usize),*) -> usize;
            }
            $body
        }
    };
}

/// Defines the entry of each call: what it does before the kernel's function. An argument that this
/// changes reaches the kernel changed.
macro_rules! entries {
    ($($name:ident($($argument:ident),*) { $($before:tt)* })*) => {
        $(entry! {
            $name($($argument),*) {
                $($before)*
                // SAFETY: the caller's obligation.
                unsafe { $name($($argument),*) }
            }
        })*
    };
}

/// Sizes of what pointers name, in bytes, in the kernel's interface.
const TIMESPEC: usize = 16;
const TIMEVAL: usize = 16;
const STAT: usize = 120;
const POLLFD: usize = 8;
const POINTER: usize = 8;
const INT: usize = 4;

entries! {
    sys_read(fd, buffer, length) { let length = first_piece(buffer, length); }
    sys_readv(fd, array, count) { vectors(array, count); }
    sys_writev(fd, array, count) { vectors(array, count); }
    sys_recv(fd, buffer, length, flags) { let length = first_piece(buffer, length); }
    sys_recvfrom(fd, buffer, length, flags, address, address_length) {
        let length = first_piece(buffer, length);
        sized(address, address_length);
    }
    sys_sendto(fd, buffer, length, flags, address, address_length) {
        bytes(buffer, length);
        bytes(address, address_length);
    }
    sys_getdents64(fd, buffer, length) { bytes(buffer, length); }
    sys_read_entropy(buffer, length, flags) { bytes(buffer, length); }
    sys_ioctl(fd, request, argument) { object(argument, INT); }
    sys_poll(array, count, timeout) { bytes(array, count.saturating_mul(POLLFD)); }

    sys_unlink(name) { string(name); }
    sys_mkdir(name, mode) { string(name); }
    sys_rmdir(name) { string(name); }
    sys_opendir(name) { string(name); }
    sys_open(name, flags, mode) { string(name); }
    sys_stat(name, stat) { string(name); object(stat, STAT); }
    sys_lstat(name, stat) { string(name); object(stat, STAT); }
    sys_fstat(fd, stat) { object(stat, STAT); }

    sys_accept(fd, address, address_length) { sized(address, address_length); }
    sys_bind(fd, address, length) { bytes(address, length); }
    sys_connect(fd, address, length) { bytes(address, length); }
    sys_getsockname(fd, address, address_length) { sized(address, address_length); }
    sys_getpeername(fd, address, address_length) { sized(address, address_length); }
    sys_getsockopt(fd, level, option, value, value_length) { sized(value, value_length); }
    sys_setsockopt(fd, level, option, value, length) { bytes(value, length); }
    sys_getaddrbyname(name, address, length) { string(name); bytes(address, length); }

    sys_futex_wait(word, expected, timeout, flags) { object(word, INT); object(timeout, TIMESPEC); }
    sys_futex_wake(word, count) { object(word, INT); }
    sys_init_queue(queue) { object(queue, POINTER); }
    sys_destroy_queue(queue) { object(queue, POINTER); }
    sys_add_queue(queue, timeout) { object(queue, POINTER); }
    sys_wait(queue) { object(queue, POINTER); }
    sys_notify(queue, count) { object(queue, POINTER); }
    sys_sem_init(semaphore, shared, value) { object(semaphore, POINTER); }
    sys_sem_destroy(semaphore) { object(semaphore, POINTER); }
    sys_sem_post(semaphore) { object(semaphore, POINTER); }
    sys_sem_trywait(semaphore) { object(semaphore, POINTER); }
    sys_sem_timedwait(semaphore, time) { object(semaphore, POINTER); object(time, TIMESPEC); }
    sys_recmutex_init(mutex) { object(mutex, POINTER); }
    sys_spinlock_init(lock) { object(lock, POINTER); }
    sys_spinlock_irqsave_init(lock) { object(lock, POINTER); }

    sys_nanosleep(requested, remaining) { object(requested, TIMESPEC); }
    sys_clock_nanosleep(clock, flags, requested, remaining) { object(requested, TIMESPEC); }
    sys_clock_getres(clock, resolution) { object(resolution, TIMESPEC); }
    sys_clock_gettime(clock, time) { object(time, TIMESPEC); }
    sys_gettimeofday(time, zone) { object(time, TIMEVAL); }
    sys_getprio(id) { object(id, INT); }
    sys_clone(id, function, argument) { object(id, INT); }
    sys_spawn(id, function, argument, priority, core) { object(id, INT); }
    sys_mmap(length, protection, start) { object(start, POINTER); }
    sys_secure_rand32(value) { object(value, INT); }
    sys_secure_rand64(value) { object(value, POINTER); }
}

entry! {
    sys_write(fd, buffer, length) {
        // SAFETY: the caller's obligation, for a part of the buffer.
        in_pieces(buffer, length, |at, piece| unsafe { sys_write(fd, at, piece) })
    }
}

entry! {
    sys_send(fd, buffer, length, flags) {
        // SAFETY: the caller's obligation, for a part of the buffer.
        in_pieces(buffer, length, |at, piece| unsafe { sys_send(fd, at, piece, flags) })
    }
}
