//! A heap for programs whose memory is paged out (feature `heap`).
//!
//! The kernel's heap walks the headers of its free chunks, which lie in memory that may be out,
//! with interrupts off: the core then stops for each. This one is the program's code, so its
//! faults wait by schedule, and takes a bounded number of steps (`docs/adr/0016-heap.md`).

extern crate std;

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::{NonNull, null_mut};
use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use rlsf::Tlsf;

/// Blocks up to this size come from lists, one for each size.
const SMALL: usize = 512;
/// Sizes and alignment of small blocks are multiples of this.
const STEP: usize = 16;
/// Bytes from which small blocks are cut.
const RUN: usize = 64 << 10;
/// Bytes that come from the kernel at a time.
const PIECE: usize = 2 << 20;
/// Blocks from this size on, their alignment included, come from the kernel one by one.
const LARGE: usize = PIECE / 2;

/// Classes of sizes by power of two, up to 4 GiB, and steps in each: few enough that all
/// bookkeeping fits in one page.
type Blocks = Tlsf<'static, u32, u16, 27, 16>;

/// A heap in the program.
///
/// ```
/// #[global_allocator]
/// static HEAP: apf_service::Heap = apf_service::Heap::new();
/// ```
///
/// - Blocks up to 512 bytes come from a list of their size. Such a call touches the
///   heap's own page and the block. Their memory stays with their size.
/// - Larger ones come from a two-level segregated fit ([`rlsf`]), in constant time.
/// - From 1 MiB on, the kernel's heap has them.
///
/// Its lock blocks, and its holder may wait for a page by schedule. So nobody uses it whom
/// that page waits for: the service thread and the kernel allocate nothing here.
// Lock and bookkeeping in a page of their own: after an eviction they take one page-in.
#[repr(align(4096))]
pub struct Heap(Mutex<Lists>);

struct Lists {
    /// Free blocks of each size.
    free: [*mut Free; SMALL / STEP],
    /// Memory that was never a block.
    run: *mut u8,
    left: usize,
    blocks: Blocks,
}

/// A free small block.
struct Free(*mut Self);

// SAFETY: the pointers are to memory that belongs to the heap alone.
unsafe impl Send for Lists {}

/// Source of a block, which follows from its layout alone.
enum Source {
    /// The list of this number.
    List(usize),
    Blocks,
    Kernel,
}

impl Source {
    const fn of(layout: &Layout) -> Self {
        let (size, align) = (layout.size(), layout.align());
        if size <= SMALL && align <= STEP && size > 0 {
            Self::List((size - 1) / STEP)
        } else if size.saturating_add(align) < LARGE {
            Self::Blocks
        } else {
            Self::Kernel
        }
    }
}

impl Heap {
    /// An empty heap.
    #[must_use]
    pub const fn new() -> Self {
        let free = [null_mut(); SMALL / STEP];
        Self(Mutex::new(Lists { free, run: null_mut(), left: 0, blocks: Blocks::new() }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lists) -> T) -> T {
        // Nothing panics while it holds the lock.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

// SAFETY: a block comes from where its layout says and goes back there; blocks do not overlap
// and are as large and as aligned as asked. `realloc` is the trait's own: it copies
// without the lock.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Source::of(&layout) {
            Source::List(list) => self.with(|lists| lists.small(list)),
            Source::Blocks => self.with(|lists| lists.block(layout)),
            // SAFETY: as of the caller.
            Source::Kernel => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Source::of(&layout) {
            Source::List(list) => {
                let block = block.cast::<Free>();
                self.with(|lists| {
                    // SAFETY: the block is free from now on, and large and aligned enough for a pointer.
                    unsafe { block.write(Free(lists.free[list])) };
                    lists.free[list] = block;
                });
            }
            Source::Blocks => {
                if let Some(block) = NonNull::new(block) {
                    // SAFETY: by the caller's word it came from here, with this alignment.
                    self.with(|lists| unsafe { lists.blocks.deallocate(block, layout.align()) });
                }
            }
            // SAFETY: as of the caller.
            Source::Kernel => unsafe { System.dealloc(block, layout) },
        }
    }
}

impl Lists {
    /// Takes a block of the size of `list`; null if there is no memory.
    fn small(&mut self, list: usize) -> *mut u8 {
        let size = (list + 1) * STEP;
        let head = self.free[list];
        if !head.is_null() {
            // SAFETY: a free block of this list, written when it was freed.
            self.free[list] = unsafe { head.read() }.0;
            return head.cast();
        }
        if self.left < size {
            let run = self.block(Layout::new::<[u128; RUN / STEP]>());
            if run.is_null() {
                return run;
            }
            // What was left is lost: at most one block of each run.
            (self.run, self.left) = (run, RUN);
        }
        let block = self.run;
        // SAFETY: `left` bytes follow, at least `size`.
        self.run = unsafe { block.add(size) };
        self.left -= size;
        block
    }

    /// Takes a block of any size below [`LARGE`]; null if there is no memory.
    fn block(&mut self, layout: Layout) -> *mut u8 {
        let taken = self.blocks.allocate(layout).or_else(|| {
            // SAFETY: the layout is not empty.
            let piece = NonNull::new(unsafe { System.alloc(Layout::new::<[u128; PIECE / STEP]>()) })?;
            // SAFETY: memory that nobody else has, and that is never given back.
            unsafe { self.blocks.insert_free_block_ptr(NonNull::slice_from_raw_parts(piece, PIECE)) };
            self.blocks.allocate(layout)
        });
        taken.map_or(null_mut(), NonNull::as_ptr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const _: () = assert!(size_of::<Heap>() == 4096);

    /// Fills a block with its number; returns whether it still has it.
    struct Block {
        layout: Layout,
        start: *mut u8,
        mark: u8,
    }

    impl Block {
        fn new(heap: &Heap, size: usize, align: usize, mark: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout is not empty.
            let start = unsafe { heap.alloc(layout) };
            assert!(!start.is_null() && start.addr().is_multiple_of(align), "{layout:?}: {start:p}");
            // SAFETY: the block has these bytes.
            unsafe { start.write_bytes(mark, size) };
            Self { layout, start, mark }
        }

        fn free(self, heap: &Heap) {
            // SAFETY: allocated by `new` with this layout; all of it was written.
            let bytes = unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == self.mark), "{:?} was overwritten", self.layout);
            // SAFETY: allocated by `new`, and freed once.
            unsafe { heap.dealloc(self.start, self.layout) };
        }
    }

    #[test]
    fn blocks_of_every_size_and_alignment_keep_their_contents() {
        let heap = Heap::new();
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut live: Vec<Block> = Vec::new();
        for round in 0..20_000 {
            if live.len() > 300 || (!live.is_empty() && next(3) == 0) {
                live.swap_remove(next(live.len())).free(&heap);
            } else {
                let largest = [SMALL, 5000, 40_000, 2 * LARGE]
                    [[0, 0, 0, 0, 1, 1, 2][next(7)] + usize::from(round % 2000 == 0)];
                live.push(Block::new(&heap, 1 + next(largest), 1 << next(14), round as u8));
            }
        }
        live.into_iter().for_each(|block| block.free(&heap));
    }

    #[test]
    fn a_freed_small_block_is_the_next_of_its_size() {
        let heap = Heap::new();
        let [first, second] = [1, 2].map(|mark| Block::new(&heap, 24, 8, mark));
        let place = first.start;
        first.free(&heap);
        assert_ne!(Block::new(&heap, 40, 8, 3).start, place, "another size");
        assert_eq!(Block::new(&heap, 32, 16, 4).start, place, "the same size, rounded up");
        second.free(&heap);
    }

    #[test]
    fn memory_beyond_all_there_is_is_refused() {
        let layout = Layout::from_size_align(isize::MAX as usize - 4096, 1).unwrap();
        // SAFETY: the layout is not empty.
        assert!(unsafe { Heap::new().alloc(layout) }.is_null());
    }

    #[test]
    fn threads_share_it() {
        let heap = Heap::new();
        std::thread::scope(|scope| {
            for mark in 0..4 {
                let heap = &heap;
                scope.spawn(move || {
                    for size in (1..2000).cycle().take(5000) {
                        Block::new(heap, size, 16, mark).free(heap);
                    }
                });
            }
        });
    }
}
