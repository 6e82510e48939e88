//! The part of the userfaultfd ABI (`linux/userfaultfd.h`) that the pager needs.

use crate::error::Error;
use apf_vocabulary::PAGE_BYTES;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A fault that a thread of this process, or KVM for a vCPU, waits for.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub address: usize,
    /// The page was write-protected at the time of the fault; it may have been dropped since.
    pub write_protect: bool,
    /// ID of the thread that waits, as its own PID namespace has it; of one of the kernel's if KVM
    /// has it bring in the page of an async page fault.
    pub thread: u32,
}

/// Result of a page-in.
#[derive(Debug)]
pub enum Copied {
    /// This many bytes from the start, at least a page, are in place, and their waiters awake.
    Bytes(usize),
    /// The first page is present already. Its waiters are *not* awake.
    Present,
    /// Nothing happened: the kernel asks to try again.
    Again,
    Failed(io::Error),
}

/// An open userfaultfd with write protection, non-blocking.
#[derive(Debug)]
pub struct Uffd(OwnedFd);

impl Uffd {
    /// Opens one for this process. KVM faults in kernel mode, so `UFFD_USER_MODE_ONLY`, which needs
    /// no permission, cannot be used.
    pub fn open() -> Result<Self, Error> {
        let uffd = Self(Self::create().map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSYS) => Error::NoUserfaultfd(error),
            _ => Error::NotPermitted(error),
        })?);
        let mut api =
            Api { api: UFFD_API, features: FEATURE_PAGEFAULT_FLAG_WP | FEATURE_THREAD_ID, ioctls: 0 };
        // SAFETY: `UFFDIO_API` reads and writes one `Api`.
        unsafe { uffd.ioctl(UFFDIO_API, &mut api) }.map_err(Error::NoWriteProtection)?;
        Ok(uffd)
    }

    fn create() -> io::Result<OwnedFd> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: the system call takes flags and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if fd >= 0 {
            // SAFETY: a new file descriptor, owned by nothing else.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EPERM) {
            return Err(error);
        }
        // Since Linux 6.1 access can be granted by the permissions of this device.
        let Ok(device) = File::options().read(true).write(true).open("/dev/userfaultfd") else {
            return Err(error);
        };
        // SAFETY: `USERFAULTFD_IOC_NEW` takes flags and touches no memory.
        let fd = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new file descriptor, owned by nothing else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Registers a range: faults on absent pages and writes to write-protected pages are reported
    /// from now on.
    pub fn register(&self, start: usize, bytes: usize) -> io::Result<()> {
        let range = Range::new(start, bytes);
        let mut register = Register { range, mode: REGISTER_MISSING | REGISTER_WP, ioctls: 0 };
        // SAFETY: `UFFDIO_REGISTER` reads and writes one `Register`.
        unsafe { self.ioctl(UFFDIO_REGISTER, &mut register) }
    }

    /// Write-protects the present pages of the range. When it returns, writes of every CPU and vCPU
    /// to them wait.
    pub fn write_protect(&self, start: usize, bytes: usize) -> io::Result<()> {
        self.set_write_protection(start, bytes, WRITEPROTECT_WP)
    }

    /// Removes the protection and wakes all waiters in the range.
    pub fn write_unprotect(&self, start: usize, bytes: usize) -> io::Result<()> {
        self.set_write_protection(start, bytes, 0)
    }

    /// Removes the protection without waking: each waiter has a message that will be read.
    pub fn write_unprotect_quietly(&self, start: usize, bytes: usize) -> io::Result<()> {
        self.set_write_protection(start, bytes, WRITEPROTECT_DONTWAKE)
    }

    fn set_write_protection(&self, start: usize, bytes: usize, mode: u64) -> io::Result<()> {
        let mut protect = WriteProtect { range: Range::new(start, bytes), mode };
        loop {
            // SAFETY: `UFFDIO_WRITEPROTECT` reads one `WriteProtect`; the range's contents stay.
            match unsafe { self.ioctl(UFFDIO_WRITEPROTECT, &mut protect) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => std::thread::yield_now(),
                done => return done,
            }
        }
    }

    /// Puts absent pages in place, atomically with their contents, and wakes their waiters. Never
    /// changes a present page.
    pub fn copy(&self, start: usize, contents: &[u8]) -> Copied {
        debug_assert!(contents.len().is_multiple_of(PAGE_BYTES));
        let mut copy = Copy {
            dst: start as u64,
            src: contents.as_ptr() as u64,
            len: contents.len() as u64,
            mode: 0,
            copy: 0,
        };
        // SAFETY: `UFFDIO_COPY` reads and writes one `Copy`, reads `contents`, and fills only absent
        // pages of the registered range, which no thread has read yet.
        let Err(error) = (unsafe { self.ioctl(UFFDIO_COPY, &mut copy) }) else {
            return Copied::Bytes(contents.len());
        };
        match error.raw_os_error() {
            // The kernel also returns EAGAIN when it has stopped half-way.
            _ if copy.copy > 0 => Copied::Bytes(copy.copy as usize),
            Some(libc::EEXIST) => Copied::Present,
            Some(libc::EAGAIN) => Copied::Again,
            _ => Copied::Failed(error),
        }
    }

    /// Wakes all waiters in the range; they try again.
    pub fn wake(&self, start: usize, bytes: usize) -> io::Result<()> {
        let mut range = Range::new(start, bytes);
        // SAFETY: `UFFDIO_WAKE` reads one `Range`.
        unsafe { self.ioctl(UFFDIO_WAKE, &mut range) }
    }

    /// Appends all faults that are waiting to be read, many per system call.
    pub fn read_faults(&self, faults: &mut Vec<Fault>) {
        let mut messages = [Message::default(); 64];
        loop {
            // SAFETY: the kernel writes whole messages, and no more than fit.
            let read = unsafe {
                libc::read(self.0.as_raw_fd(), messages.as_mut_ptr().cast(), size_of_val(&messages))
            };
            // EAGAIN: no further message now. A valid descriptor has no other error, and a message
            // stays in the kernel until it is read.
            let Ok(read) = usize::try_from(read) else { return };
            let count = read / size_of::<Message>();
            faults.extend(messages[..count].iter().filter(|m| m.event == EVENT_PAGEFAULT).map(|m| Fault {
                address: m.address as usize,
                write_protect: m.flags & PAGEFAULT_FLAG_WP != 0,
                thread: m.thread,
            }));
            if count < messages.len() {
                return;
            }
        }
    }

    /// Makes a request of the kernel.
    ///
    /// # Safety
    /// `request` must read and write no more than one `T` through its argument, and must leave the
    /// memory that it names valid.
    unsafe fn ioctl<T>(&self, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
        // SAFETY: the caller's obligation.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument as *mut T) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl AsRawFd for Uffd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

const UFFD_API: u64 = 0xaa;
const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
/// Since Linux 4.14.
const FEATURE_THREAD_ID: u64 = 1 << 8;
const REGISTER_MISSING: u64 = 1 << 0;
const REGISTER_WP: u64 = 1 << 1;
const WRITEPROTECT_WP: u64 = 1 << 0;
const WRITEPROTECT_DONTWAKE: u64 = 1 << 1;
const EVENT_PAGEFAULT: u8 = 0x12;
const PAGEFAULT_FLAG_WP: u64 = 1 << 1;

const USERFAULTFD_IOC_NEW: libc::c_ulong = 0xaa00;
const UFFDIO_API: libc::c_ulong = iowr::<Api>(0x3f);
const UFFDIO_REGISTER: libc::c_ulong = iowr::<Register>(0x00);
/// `_IOR` although the kernel only reads: a mistake in the header that is ABI now.
const UFFDIO_WAKE: libc::c_ulong = (2 << 30) | ((size_of::<Range>() as libc::c_ulong) << 16) | 0xaa02;
const UFFDIO_COPY: libc::c_ulong = iowr::<Copy>(0x03);
const UFFDIO_WRITEPROTECT: libc::c_ulong = iowr::<WriteProtect>(0x06);

const fn iowr<T>(number: libc::c_ulong) -> libc::c_ulong {
    (3 << 30) | ((size_of::<T>() as libc::c_ulong) << 16) | 0xaa00 | number
}

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

impl Range {
    fn new(start: usize, bytes: usize) -> Self {
        Self { start: start as u64, len: bytes as u64 }
    }
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Copy {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copy: i64,
}

#[repr(C)]
struct WriteProtect {
    range: Range,
    mode: u64,
}

/// `struct uffd_msg` of a page fault.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Message {
    event: u8,
    reserved: [u8; 7],
    flags: u64,
    address: u64,
    thread: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Message>() == 32);
const _: () = assert!(size_of::<Api>() == 24 && size_of::<Register>() == 32);
const _: () = assert!(size_of::<Copy>() == 40 && size_of::<WriteProtect>() == 24);
