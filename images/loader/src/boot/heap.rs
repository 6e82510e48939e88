//! The heap: memory for the device tree and its writer, never freed.
//!
//! It is part of the loader's own range, which the kernel does not overwrite.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The device tree of a large machine is about 2 KiB, its writer's buffer doubles as it
/// grows, and QEMU's command line may have 64 KiB.
const SIZE: usize = 512 << 10;

#[repr(align(16))]
struct Heap {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: `memory` is accessed through `alloc` only, which returns no byte twice.
unsafe impl Sync for Heap {}

// SAFETY: each block is aligned, lies within `memory`, and overlaps no other, since
// `used` only grows.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let mut start = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            start = (base.addr() + used).checked_next_multiple_of(layout.align())? - base.addr();
            start.checked_add(layout.size()).filter(|&end| end <= SIZE)
        });
        taken.map_or(ptr::null_mut(), |_| base.wrapping_add(start))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
