//! The state of each page of the guest's RAM.
//!
//! ```text
//!             evict                 fault
//!  Resident ---------> Evicted ---------------> InService
//!     ^                   | restore                 | due, or restore
//!     +-------------------+-------------------------+
//! ```
//!
//! An eviction does not change a page in service: it is not in memory, the store holds its
//! contents, and its fault is waiting. `InService` means that exactly one entry of the due queue
//! will bring the page back.

use std::ops::Range;

/// State of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// In memory, or never touched before the first eviction.
    Resident,
    /// In the store only.
    Evicted,
    /// In the store only, and a thread waits for it.
    InService,
}

/// The states of all pages.
#[derive(Debug)]
pub struct Pages {
    states: Vec<PageState>,
    resident: usize,
}

impl Pages {
    pub fn new(pages: usize) -> Self {
        Self { states: vec![PageState::Resident; pages], resident: pages }
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn resident(&self) -> usize {
        self.resident
    }

    pub fn state(&self, page: usize) -> PageState {
        self.states[page]
    }

    /// Marks pages as dropped.
    pub fn evict(&mut self, pages: Range<usize>) {
        for state in &mut self.states[pages] {
            if *state == PageState::Resident {
                *state = PageState::Evicted;
                self.resident -= 1;
            }
        }
    }

    /// Records that a thread waits for `page`. Returns the previous state: the caller sets a due
    /// time if and only if that was `Evicted`.
    pub fn fault(&mut self, page: usize) -> PageState {
        let before = self.states[page];
        if before == PageState::Evicted {
            self.states[page] = PageState::InService;
        }
        before
    }

    /// Marks `page` as being in memory.
    pub fn bring_back(&mut self, page: usize) {
        if self.states[page] != PageState::Resident {
            self.states[page] = PageState::Resident;
            self.resident += 1;
        }
    }

    /// Finds the first run of pages in `within` that are not resident: start, and length up to
    /// `max`.
    pub fn next_missing(&self, within: Range<usize>, max: usize) -> Option<(usize, usize)> {
        let missing = |state: &PageState| *state != PageState::Resident;
        let start = within.start + self.states[within.clone()].iter().position(missing)?;
        let run = self.states[start..within.end].iter().take(max).take_while(|s| missing(s)).count();
        Some((start, run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PageState::*;

    #[test]
    fn a_page_is_evicted_faults_and_is_brought_back() {
        let mut pages = Pages::new(4);
        assert_eq!(pages.fault(1), Resident, "not the pager's before an eviction");
        pages.evict(0..4);
        assert_eq!((pages.resident(), pages.state(1)), (0, Evicted));
        assert_eq!(pages.fault(1), Evicted);
        assert_eq!(pages.fault(1), InService, "the second fault finds the first one's entry");
        pages.bring_back(1);
        assert_eq!((pages.resident(), pages.state(1)), (1, Resident));
        pages.bring_back(1);
        assert_eq!(pages.resident(), 1, "counted once");
    }

    #[test]
    fn an_eviction_does_not_change_a_page_in_service() {
        let mut pages = Pages::new(2);
        pages.evict(0..2);
        pages.fault(0);
        pages.evict(0..2);
        assert_eq!((pages.state(0), pages.state(1)), (InService, Evicted));
    }

    #[test]
    fn an_eviction_of_a_part_does_not_change_the_rest() {
        let mut pages = Pages::new(4);
        pages.evict(1..3);
        pages.evict(2..3);
        assert_eq!(pages.resident(), 2);
        assert_eq!([0, 1, 2, 3].map(|page| pages.state(page)), [Resident, Evicted, Evicted, Resident]);
    }

    #[test]
    fn next_missing_finds_runs_of_missing_pages() {
        let mut pages = Pages::new(8);
        assert_eq!(pages.next_missing(0..8, 8), None);
        pages.evict(0..8);
        pages.fault(1);
        [0, 4].into_iter().for_each(|page| pages.bring_back(page));
        assert_eq!(pages.next_missing(0..8, 8), Some((1, 3)), "a page in service is missing, too");
        assert_eq!(pages.next_missing(0..8, 2), Some((1, 2)));
        assert_eq!(pages.next_missing(4..8, 8), Some((5, 3)));
        assert_eq!(pages.next_missing(8..8, 8), None);
        assert_eq!(pages.next_missing(4..6, 8), Some((5, 1)), "pages after the range do not count");
    }
}
