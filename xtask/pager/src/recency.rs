//! Recency of pages, by a clock that counts page-ins.
//!
//! The pager sees a touch only if the page is evicted, not the use of a page in memory. So "least
//! recently used" means "paged in longest ago" here; pages that were never paged in, because they
//! were in memory or evicted all the time, come first.

use crate::choice;

/// The time of each page's last page-in after a touch.
#[derive(Debug)]
pub struct Recency {
    /// Page-ins so far.
    clock: u64,
    /// Time of the last page-in, by page; 0 is never.
    last: Vec<u64>,
    /// Seed, pages and share of the last choice, and the choice.
    choice: Option<(u64, Vec<usize>, f64, Vec<usize>)>,
}

impl Recency {
    pub fn new(pages: usize) -> Self {
        Self { clock: 0, last: vec![0; pages], choice: None }
    }

    /// Records that `page` was touched and is in memory.
    pub fn paged_in(&mut self, page: usize) {
        self.clock += 1;
        self.last[page] = self.clock;
    }

    /// Returns the share of `pages` that was paged in longest ago. Calls with the same arguments
    /// return the same pages, whatever was touched in between, so that each measurement has the
    /// same number of faults.
    pub fn least_recent(&mut self, pages: Vec<usize>, share: f64, seed: u64) -> Vec<usize> {
        if let Some((of_seed, of_pages, of_share, chosen)) = &self.choice
            && (*of_seed, *of_share) == (seed, share)
            && *of_pages == pages
        {
            return chosen.clone();
        }
        let chosen = choice::least_recent(&pages, share, |page| self.last[page]);
        self.choice = Some((seed, pages, share, chosen.clone()));
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_recent_pages_are_not_chosen() {
        let mut recency = Recency::new(4);
        [0, 2, 1, 0].into_iter().for_each(|page| recency.paged_in(page));
        let all = || vec![0, 1, 2, 3];
        assert_eq!(recency.least_recent(all(), 0.5, 1), [2, 3]);
        recency.paged_in(2);
        recency.paged_in(3);
        assert_eq!(recency.least_recent(all(), 0.5, 1), [2, 3], "the same seed, the same pages");
        assert_eq!(recency.least_recent(all(), 0.5, 2), [0, 1]);
        assert_eq!(recency.least_recent(all(), 0.25, 2), [1], "another share is a new choice");
        assert_eq!(recency.least_recent(vec![2, 3], 0.5, 2), [2], "other pages are a new choice, too");
    }
}
