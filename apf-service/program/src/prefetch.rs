//! Reading ahead: a program announces the memory that it will need, and tasks touch it,
//! so that the page-ins overlap instead of following each other.
//!
//! A second touch of a page that is being read is no second async page fault: the
//! host stops the core until some page of it is ready (arch/x86/kvm/mmu/mmu.c,
//! `kvm_faultin_pfn`). So the tasks must stay ahead of the program; otherwise each page
//! would stop the core.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::error::StartError;
use crate::ffi;
use apf_core::bring_in::each_page;
use apf_core::event::CoreId;

/// Above the kernel's normal one: a touch is short, and is to come before the
/// program's own.
const PRIORITY: u8 = 3;
/// The touching tasks do nothing else.
const STACK: usize = 32 * 1024;
/// Pages that can be announced and not touched yet.
const QUEUE: usize = 4096;

static PAGES: AtomicPtr<ArrayQueue<usize>> = AtomicPtr::new(core::ptr::null_mut());
static WORK: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicBool = AtomicBool::new(false);

/// Tasks that touch announced memory; one set for the whole program. Dropping this does not
/// end them; [`stop`](Self::stop) does.
///
/// ```no_run
/// static TABLE: [u8; 1 << 20] = [0; 1 << 20];
/// # fn main() -> Result<(), apf_service::StartError> {
/// let prefetcher = apf_service::Prefetcher::start(16)?;
/// prefetcher.announce(&TABLE);
/// // … reads the table from start to end …
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prefetcher {
    tasks: Vec<ffi::TaskId>,
}

fn pages() -> Option<&'static ArrayQueue<usize>> {
    // SAFETY: null, or leaked by `start` and never freed.
    unsafe { PAGES.load(Ordering::Acquire).as_ref() }
}

impl Prefetcher {
    /// Makes `tasks` tasks, spread over the cores: so many page-ins can overlap.
    /// The host keeps 64 faults outstanding for each core, those of the program
    /// itself included.
    ///
    /// # Errors
    /// There is one already, or there is no memory for so many tasks.
    pub fn start(tasks: u16) -> Result<Self, StartError> {
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(StartError::AlreadyRunning);
        }
        if pages().is_none() {
            PAGES.store(Box::leak(Box::new(ArrayQueue::new(QUEUE))), Ordering::Release);
        }
        STOP.store(false, Ordering::Release);
        let cores = ffi::cores();
        let spawned = (0..tasks).map_while(|task| ffi::spawn(run, PRIORITY, STACK, CoreId(task % cores)));
        let prefetcher = Self { tasks: spawned.collect() };
        if prefetcher.tasks.len() == usize::from(tasks) {
            Ok(prefetcher)
        } else {
            prefetcher.stop();
            Err(StartError::no_task(STACK))
        }
    }

    /// Announces that all of `range` will be needed, its start first. Returns as soon
    /// as every task has a page to wait for, with the number of bytes, from the
    /// start on, that will be touched: the rest found too much announced before.
    pub fn announce(&self, range: &'static [u8]) -> usize {
        let (Some(pages), false) = (pages(), range.is_empty()) else { return 0 };
        let first = range.as_ptr().expose_provenance();
        let mut each = each_page(first, range.len());
        let wakes = self.tasks.len().min(each.clone().count());
        let refused = each.find(|&page| pages.push(page).is_err());
        WORK.fetch_add(1, Ordering::Release);
        (0..wakes).for_each(|_| ffi::futex_wake(&WORK));
        // Let them go ahead.
        ffi::yield_now();
        refused.map_or(range.len(), |page| page - first)
    }

    /// Ends the tasks. Announced pages that are not touched yet are forgotten.
    pub fn stop(self) {
        STOP.store(true, Ordering::Release);
        WORK.fetch_add(1, Ordering::Release);
        self.tasks.iter().for_each(|_| ffi::futex_wake(&WORK));
        for task in self.tasks {
            ffi::join(task);
        }
        while pages().and_then(ArrayQueue::pop).is_some() {}
        STARTED.store(false, Ordering::Release);
    }
}

/// ```text
///   task                             announcing
///   seen = work
///   queue empty
///                                    page → queue
///                                    work += 1; futex_wake(work)
///   sleep unless work != seen  ───►  does not sleep
/// ```
extern "C" fn run(_: usize) {
    loop {
        let seen = WORK.load(Ordering::Acquire);
        while let Some(page) = pages().and_then(ArrayQueue::pop) {
            if STOP.load(Ordering::Acquire) {
                return;
            }
            // SAFETY: a byte of a `&'static [u8]`. Volatile, since only the
            // touch matters.
            unsafe { core::ptr::with_exposed_provenance::<u8>(page).read_volatile() };
        }
        if STOP.load(Ordering::Acquire) {
            return;
        }
        ffi::futex_wait(&WORK, seen, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apf_core::bring_in::PAGE;

    static RANGE: [u8; 3 * PAGE] = [0; 3 * PAGE];

    #[test]
    fn a_range_is_announced_page_by_page_as_far_as_there_is_room() {
        // Off Hermit there are no tasks, and so nobody who touches.
        assert_eq!(Prefetcher::start(1).unwrap_err(), StartError::no_task(STACK));
        let prefetcher = Prefetcher::start(0).unwrap();
        assert_eq!(Prefetcher::start(0).unwrap_err(), StartError::AlreadyRunning);
        assert_eq!(prefetcher.announce(&RANGE), RANGE.len());
        let first = RANGE.as_ptr().addr();
        let announced: Vec<usize> = core::iter::from_fn(|| pages().and_then(ArrayQueue::pop)).collect();
        let touched: Vec<usize> = announced.iter().map(|at| at / PAGE).collect();
        let all: Vec<usize> = (first / PAGE..=(first + RANGE.len() - 1) / PAGE).collect();
        assert_eq!(touched, all, "every page once, in order");
        assert!(announced.iter().all(|at| (first..first + RANGE.len()).contains(at)));
        assert_eq!(prefetcher.announce(&[]), 0);
        let announce = || prefetcher.announce(&RANGE[..1]);
        assert!((0..=QUEUE).any(|_| announce() == 0), "the queue is bounded");
        prefetcher.stop();
        assert_eq!(pages().and_then(ArrayQueue::pop), None);
    }
}
