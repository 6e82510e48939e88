//! The loader's own place in memory, and memory that it may write to.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::{ptr, slice};

/// The application's ELF where `cargo xtask image` has put both into one file.
///
/// It writes start and size here (`xtask/src/image/bundle.rs`), so the compiler must not
/// take them for the zeros they are.
#[unsafe(link_section = ".bundle")]
static BUNDLED: [u64; 2] = [0, 0];

/// Where the bundled image's file is.
pub fn bundled() -> Option<Range<u64>> {
    // SAFETY: a static of our own, which nobody writes to once we run.
    let [start, size] = unsafe { (&raw const BUNDLED).read_volatile() };
    (size != 0).then(|| start..start.saturating_add(size))
}

/// The memory that the loader itself is in.
pub fn own_range() -> Range<u64> {
    unsafe extern "C" {
        static loader_start: u8;
        static loader_end: u8;
    }
    (&raw const loader_start) as u64..(&raw const loader_end) as u64
}

/// A file that a boot loader left in memory.
///
/// # Safety
///
/// The range is memory below 4 GiB that nobody writes to.
pub unsafe fn file(range: &Range<u64>) -> &'static [u8] {
    let start = ptr::with_exposed_provenance(range.start as usize);
    // SAFETY: by the caller.
    unsafe { slice::from_raw_parts(start, (range.end - range.start) as usize) }
}

/// Free memory, to be written.
///
/// # Safety
///
/// The range is memory below 4 GiB that nobody else uses.
pub unsafe fn borrow_free(range: Range<u64>) -> &'static mut [MaybeUninit<u8>] {
    let start = ptr::with_exposed_provenance_mut(range.start as usize);
    // SAFETY: by the caller; bytes that may be uninitialised have no further rules.
    unsafe { slice::from_raw_parts_mut(start, (range.end - range.start) as usize) }
}
