//! Memory ranges: the loader's own, the image's file, free memory.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::{ptr, slice};

/// Start and size of the bundled application's ELF; zeros without one.
///
/// `cargo xtask image` writes them into the linked file (`xtask/src/image/bundle.rs`), so
/// the compiler must not assume zeros.
#[unsafe(link_section = ".bundle")]
static BUNDLED: [u64; 2] = [0, 0];

/// Returns the range of the bundled image's file.
pub fn bundled() -> Option<Range<u64>> {
    // SAFETY: a static that is not written while the loader runs.
    let [start, size] = unsafe { (&raw const BUNDLED).read_volatile() };
    (size != 0).then(|| start..start.saturating_add(size))
}

/// Returns the loader's own range.
pub fn own_range() -> Range<u64> {
    unsafe extern "C" {
        static loader_start: u8;
        static loader_end: u8;
    }
    (&raw const loader_start) as u64..(&raw const loader_end) as u64
}

/// Returns the bytes of a file that a boot loader put into memory.
///
/// # Safety
/// The range is memory below 4 GiB that is never written again.
pub unsafe fn file(range: &Range<u64>) -> &'static [u8] {
    let start = ptr::with_exposed_provenance(range.start as usize);
    // SAFETY: the caller's obligation.
    unsafe { slice::from_raw_parts(start, (range.end - range.start) as usize) }
}

/// Returns free memory, to be written.
///
/// # Safety
/// The range is memory below 4 GiB that is not used in any other way.
pub unsafe fn borrow_free(range: Range<u64>) -> &'static mut [MaybeUninit<u8>] {
    let start = ptr::with_exposed_provenance_mut(range.start as usize);
    // SAFETY: the caller's obligation; `MaybeUninit` allows uninitialised bytes.
    unsafe { slice::from_raw_parts_mut(start, (range.end - range.start) as usize) }
}
