//! What every check gets: memory that can be recognised.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::region::Region;

/// What a check found: figures if all is right, else what is not.
pub type Verdict = Result<String, String>;

/// Pages of the memory. More than any check reads, so that no page is read
/// twice between two evictions.
const PAGES: usize = 4096;

/// The memory.
pub struct Bench {
    pub seed: u64,
    region: Region,
    next: AtomicUsize,
}

impl Bench {
    /// Fills the memory.
    pub fn new(seed: u64) -> Self {
        Self { seed, region: Region::filled(PAGES, seed), next: AtomicUsize::new(0) }
    }

    /// A page that nobody has read since the last eviction.
    pub fn page(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % PAGES
    }

    /// Reads all of `page` and says whether it is what was written.
    pub fn read(&self, page: usize) -> bool {
        self.region.is_right(self.seed, page)
    }

    /// A fresh page's first word: where it is, and what it should hold.
    pub fn word(&self) -> (*const u64, u64) {
        self.region.first_word(self.seed, self.page())
    }

    /// Does `work` twice, and returns what came of the second time, when code
    /// and stacks are there.
    pub fn warm<T>(&self, mut work: impl FnMut() -> T) -> T {
        work();
        work()
    }
}

/// Lets a check say what must hold.
pub fn demand(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}
