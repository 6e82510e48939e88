//! The working set: pages that a guest touches soon after an eviction, and their return ahead of its
//! faults.
//!
//! A fault asks for one page and is answered after one latency; code and data that are needed to answer
//! the first request are asked for one after the other. Whoever knows them from an earlier time reads them all
//! at once, in large pieces (REAP, Ustiugov et al., ASPLOS 2021).

use crate::choice;
use crate::due::DueQueue;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Pages that are read at a time, with one latency.
const PIECE: usize = 64;

/// The working set of one guest.
#[derive(Debug, Default)]
pub struct WorkingSet {
    /// Pages that faults have brought in since the last eviction, in the order of their return.
    touched: Vec<usize>,
    /// Pages to be brought in ahead after an eviction, the first to be needed first.
    ahead: Vec<usize>,
    /// Nothing was brought in since the last eviction.
    is_quiet: bool,
    /// Runs of pages that are under way, by their number in `runs`.
    coming: DueQueue,
    runs: Vec<Range<usize>>,
}

impl WorkingSet {
    /// Returns the pages that faults have brought in since the last eviction, in the order of their return.
    pub fn touched(&self) -> &[usize] {
        &self.touched
    }

    /// Sets the pages to be brought in ahead, from the next eviction on.
    pub fn bring_ahead(&mut self, pages: Vec<usize>) {
        self.ahead = pages;
    }

    /// Notes an eviction: what was under way is out again.
    pub fn evicted(&mut self) {
        self.touched.clear();
        self.end();
        self.is_quiet = true;
    }

    /// Ends what is under way.
    pub fn end(&mut self) {
        self.coming = DueQueue::default();
        self.runs.clear();
        self.is_quiet = false;
    }

    /// Notes a fault at `now`. After the first one the pages are read: each piece is there after its own
    /// `latency`.
    pub fn fault(&mut self, now: Instant, mut latency: impl FnMut() -> Duration) {
        if !std::mem::take(&mut self.is_quiet) {
            return;
        }
        for piece in self.ahead.chunks(PIECE) {
            let due = now + latency();
            let mut piece = piece.to_vec();
            piece.sort_unstable();
            for run in choice::runs(&piece) {
                self.coming.push(due, self.runs.len());
                self.runs.push(run);
            }
        }
    }

    /// Notes a page that a fault has brought in.
    pub fn served(&mut self, page: usize) {
        self.touched.push(page);
    }

    /// Returns the time at which the next run is there.
    pub fn next_due(&self) -> Option<Instant> {
        self.coming.next_due()
    }

    /// Takes the next run, if it is there.
    pub fn pop_due(&mut self, now: Instant) -> Option<Range<usize>> {
        self.coming.pop_due(now).map(|(_, run)| self.runs[run].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_ahead_once_after_the_first_fault_since_an_eviction() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let mut set = WorkingSet::default();
        set.bring_ahead(vec![9, 3, 4, 8]);
        set.fault(now, || Duration::ZERO);
        assert_eq!(set.next_due(), None, "nothing was evicted");
        set.evicted();
        assert_eq!(set.next_due(), None, "nobody asks for a page");
        set.fault(now, || later - now);
        set.fault(now, || Duration::ZERO);
        assert_eq!((set.next_due(), set.pop_due(now)), (Some(later), None));
        let runs: Vec<_> = std::iter::from_fn(|| set.pop_due(later)).collect();
        assert_eq!(runs, [3..5, 8..10]);
        set.fault(now, || Duration::ZERO);
        assert_eq!(set.next_due(), None);
    }

    #[test]
    fn each_piece_has_a_latency_of_its_own() {
        let now = Instant::now();
        let mut set = WorkingSet::default();
        set.bring_ahead((0..3 * PIECE).map(|page| 2 * page).collect());
        set.evicted();
        let mut latency = Duration::ZERO;
        set.fault(now, || {
            latency += Duration::from_secs(1);
            latency
        });
        for piece in 1..=3 {
            assert_eq!(set.next_due(), Some(now + Duration::from_secs(piece)));
            let there = std::iter::from_fn(|| set.pop_due(now + Duration::from_secs(piece)));
            assert_eq!(there.count(), PIECE);
        }
    }

    #[test]
    fn an_eviction_starts_anew() {
        let now = Instant::now();
        let mut set = WorkingSet::default();
        set.bring_ahead(vec![1]);
        set.evicted();
        set.fault(now, || Duration::ZERO);
        set.served(7);
        assert_eq!(set.touched(), [7]);
        set.evicted();
        assert_eq!(set.pop_due(now), None);
        assert!(set.touched().is_empty());
        set.fault(now, || Duration::ZERO);
        assert_eq!(set.pop_due(now), Some(1..2));
    }
}
