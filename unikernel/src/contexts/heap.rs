//! The program's heap: quick with many live blocks, and its bookkeeping takes few page-ins.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use apf_service::Heap;
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, demand};
use super::tasks::spawn;
use crate::host;

const SMALL: Layout = Layout::new::<[u64; 2]>();
/// A value of 4 KiB in an `Arc`.
const VALUE: Layout = Layout::new::<[u64; 514]>();
/// 64 MiB of them.
const VALUES: usize = 16 << 10;
/// Values in the kernel's heap, which has to hold the others as well.
const KERNELS: usize = VALUES / 2;
const QUICKLY: Duration = Duration::from_secs(1);
/// The heap's own page and the block.
const PAGE_INS: u64 = 2;
const TASKS: usize = 4;

/// A heap with live values.
static FULL: Heap = Heap::new();
/// A heap that nobody touches after the eviction but for the call that is measured.
static COLD: Heap = Heap::new();

/// A block, freed by hand.
struct Block<'a> {
    heap: &'a (dyn GlobalAlloc + Sync),
    layout: Layout,
    start: *mut u8,
}

// SAFETY: it alone has its memory, and the heap is shared.
unsafe impl Send for Block<'_> {}

impl<'a> Block<'a> {
    /// Allocates and writes its first byte.
    fn new(heap: &'a (dyn GlobalAlloc + Sync), layout: Layout) -> Self {
        // SAFETY: the layouts are not empty.
        let start = black_box(unsafe { heap.alloc(layout) });
        assert!(!start.is_null(), "the guest needs more memory");
        // SAFETY: the block's first byte.
        unsafe { start.write(1) };
        Self { heap, layout, start }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { self.heap.dealloc(self.start, self.layout) };
    }
}

fn values(heap: &(dyn GlobalAlloc + Sync), count: usize) -> (Vec<Block<'_>>, Duration) {
    let mut values = Vec::with_capacity(count);
    let began = Instant::now();
    values.extend((0..count).map(|_| Block::new(heap, VALUE)));
    (values, began.elapsed())
}

/// Measures one allocation of 16 bytes and its end: the median of nine series.
fn pair(heap: &(dyn GlobalAlloc + Sync)) -> Duration {
    const CALLS: u32 = 1000;
    let mut series = [0; 9].map(|_| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| drop(Block::new(heap, SMALL)));
        began.elapsed() / CALLS
    });
    series.sort_unstable();
    series[series.len() / 2]
}

/// Checks its speed with 64 MiB of live values, the page-ins of a small block after everything
/// was evicted, and tasks that share its lock while they wait for pages.
pub fn check(_: &Bench) -> Verdict {
    let empty = pair(&Heap::new());
    // The second time the memory has been touched: what is left is the bookkeeping.
    let (first, first_time) = values(&FULL, VALUES);
    drop(first);
    let (live, made) = values(&FULL, VALUES);
    let full = pair(&FULL);
    let (kernel_made, kernel) = {
        let (_values, made) = values(&System, KERNELS);
        (made, pair(&System))
    };
    // Both free blocks and unused memory.
    let small: Vec<_> = (0..300).map(|_| Block::new(&COLD, SMALL)).collect();
    drop(small);
    host::evict();
    // The first brings in code and stack.
    let [_, cold] = [&FULL, &COLD].map(|heap| counted(|| drop(Block::new(heap, SMALL))));
    let shared = counted(|| at_once(live));
    let page_ins = cold.schedule_waits + cold.halt_waits;
    demand(made < QUICKLY, || format!("{VALUES} blocks of 4 KiB took {made:.1?}"))?;
    demand(kernel_made < QUICKLY, || {
        format!("{KERNELS} blocks of 4 KiB of the kernel's heap took {kernel_made:.1?}")
    })?;
    demand(full <= 2 * empty, || format!("16 bytes take {full:?} with live values, {empty:?} without"))?;
    demand((1..=PAGE_INS).contains(&page_ins), || format!("16 bytes took {page_ins} page-ins, not 1 or 2"))?;
    demand(cold.halt_waits == 0, || "a fault of the heap halted the core".into())?;
    demand(shared.schedule_waits > 0, || "no task waited for a page of the heap".into())?;
    Ok(format!(
        "16 bytes in {} ns ({} in an empty heap, {} in the kernel's with {KERNELS} values), {page_ins} \
         page-ins when cold; {VALUES} blocks of 4 KiB in {:.0} ms ({:.0} at first touch)",
        full.as_nanos(),
        empty.as_nanos(),
        kernel.as_nanos(),
        made.as_secs_f64() * 1e3,
        first_time.as_secs_f64() * 1e3,
    ))
}

/// Has tasks free and make values at once; each frees others' values, which are out.
fn at_once(mut live: Vec<Block<'_>>) {
    const EACH: usize = 8;
    let apart = live.len() / (TASKS * EACH);
    let mut index = 0;
    let mut some: Vec<_> = live.extract_if(.., |_| (index, index += 1).0 % apart == 0).collect();
    thread::scope(|scope| {
        for _ in 0..TASKS {
            let own = some.split_off(some.len().saturating_sub(EACH));
            spawn(scope, move || {
                for value in own {
                    drop(value);
                    drop((Block::new(&FULL, SMALL), Block::new(&FULL, VALUE)));
                    thread::yield_now();
                }
            });
        }
    });
    // Back in memory, so that freeing the rest costs no page-ins.
    host::restore();
}

fn counted(work: impl FnOnce()) -> Counters {
    let before = host::counters();
    work();
    host::counters().since(&before)
}
