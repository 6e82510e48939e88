//! A limit on the pages in memory: a page that comes in puts out the one that came in longest ago.
//!
//! The pager sees a touch only of a page that is out. A page that is used all the time leaves
//! like any other, and returns by its next fault: first in, first out.

use std::collections::VecDeque;

/// Share of the limit that leaves at a time, and its maximum in pages. An eviction costs the guest a
/// flush for each piece of memory that it is spread over, so several pages leave at once.
const AT_A_TIME: (usize, usize) = (16, 64);

/// Pages of which a limited number is in memory.
#[derive(Debug)]
pub struct Resident {
    /// Ascending.
    pages: Vec<usize>,
    limit: usize,
    /// Those in memory, in the order of their arrival.
    arrivals: VecDeque<usize>,
}

impl Resident {
    /// Limits how many of the ascending `pages` are in memory; `arrivals` are those that are now.
    pub fn new(pages: Vec<usize>, limit: usize, arrivals: Vec<usize>) -> Self {
        Self { pages, limit: limit.max(1), arrivals: arrivals.into() }
    }

    /// Notes that `page` came in.
    pub fn paged_in(&mut self, page: usize) {
        if self.pages.binary_search(&page).is_ok() {
            self.arrivals.push_back(page);
        }
    }

    /// Takes the pages that have to leave, in ascending order: none while there is room.
    pub fn leaving(&mut self) -> Vec<usize> {
        let (share, most) = AT_A_TIME;
        let more = match self.arrivals.len().checked_sub(self.limit) {
            None | Some(0) => return vec![],
            Some(more) => more + (self.limit / share).min(most),
        };
        let mut leaving: Vec<usize> = self.arrivals.drain(..more).collect();
        leaving.sort_unstable();
        leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_come_leave_once_there_are_too_many() {
        let mut resident = Resident::new((0..100).collect(), 32, (10..42).collect());
        assert!(resident.leaving().is_empty());
        resident.paged_in(5);
        assert_eq!(resident.leaving(), [10, 11, 12], "and a sixteenth of the limit more");
        assert!(resident.leaving().is_empty());
        (50..53).for_each(|page| resident.paged_in(page));
        assert_eq!(resident.leaving(), [13, 14, 15]);
    }

    #[test]
    fn the_newest_page_stays_and_others_do_not_count() {
        let mut resident = Resident::new(vec![1, 2, 3], 0, vec![]);
        resident.paged_in(3);
        resident.paged_in(7);
        assert!(resident.leaving().is_empty());
        resident.paged_in(1);
        assert_eq!(resident.leaving(), [3]);
    }
}
