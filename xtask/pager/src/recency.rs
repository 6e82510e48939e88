//! The pager's own clock: a counter of its page-ins.
//!
//! A pager sees a page when it is touched and out, and at no other time: not how often a page in
//! memory is used. So "least recently used" here is "paged in longest ago"; what was never paged in,
//! having been in memory all the time or out all the time, comes first.

use crate::choice;

/// When each page was last paged in because it was touched.
#[derive(Debug)]
pub struct Recency {
    /// Page-ins so far.
    clock: u64,
    /// By page; 0 is never.
    last: Vec<u64>,
    /// Seed, pages and share of the last choice, and the choice.
    choice: Option<(u64, Vec<usize>, f64, Vec<usize>)>,
}

impl Recency {
    pub fn new(pages: usize) -> Self {
        Self { clock: 0, last: vec![0; pages], choice: None }
    }

    /// `page` was touched, and is back.
    pub fn paged_in(&mut self, page: usize) {
        self.clock += 1;
        self.last[page] = self.clock;
    }

    /// The share of `pages` that was paged in longest ago. Asked again with the same seed the answer
    /// is the same: whatever has been touched in between, as many faults are there to be measured.
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
    fn what_came_in_last_stays() {
        let mut recency = Recency::new(4);
        [0, 2, 1, 0].into_iter().for_each(|page| recency.paged_in(page));
        let all = || vec![0, 1, 2, 3];
        assert_eq!(recency.least_recent(all(), 0.5, 1), [2, 3]);
        recency.paged_in(2);
        recency.paged_in(3);
        assert_eq!(recency.least_recent(all(), 0.5, 1), [2, 3], "the same seed, the same pages");
        assert_eq!(recency.least_recent(all(), 0.5, 2), [0, 1]);
        assert_eq!(recency.least_recent(all(), 0.25, 2), [1], "another share is another question");
        assert_eq!(recency.least_recent(vec![2, 3], 0.5, 2), [2], "other pages, too");
    }
}
