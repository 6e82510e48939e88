//! Due times of faults: a heap, first in, first out among equal times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Pages in the order in which they are due.
#[derive(Debug, Default)]
pub struct DueQueue {
    /// Smallest first: due time, then order of arrival, then the page.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    arrivals: u64,
}

impl DueQueue {
    pub fn push(&mut self, due: Instant, page: usize) {
        self.heap.push(Reverse((due, self.arrivals, page)));
        self.arrivals += 1;
    }

    /// Returns the due time of the first page.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Removes and returns the first page with its due time, if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((due, _, page))| (due, page))
    }

    /// Removes the pages for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.heap.retain(|Reverse((_, _, page))| keep(*page));
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_queue_orders_pages_by_due_time_and_then_by_arrival() {
        let now = Instant::now();
        let later = now + Duration::from_micros(10);
        let mut queue = DueQueue::default();
        for (due, page) in [(later, 1), (now, 2), (later, 3), (now, 4)] {
            queue.push(due, page);
        }
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop_due(now), Some((now, 2)));
        assert_eq!(queue.pop_due(now), Some((now, 4)));
        assert_eq!(queue.pop_due(now), None, "nothing is served early");
        assert_eq!(queue.pop_due(later), Some((later, 1)));
        assert_eq!(queue.pop_due(later), Some((later, 3)));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn the_queue_keeps_its_order_when_pages_are_removed() {
        let now = Instant::now();
        let mut queue = DueQueue::default();
        (0..10).for_each(|page| queue.push(now, page));
        queue.retain(|page| page % 2 == 1);
        assert_eq!(queue.len(), 5);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop_due(now)).map(|(_, page)| page).collect();
        assert_eq!(left, [1, 3, 5, 7, 9]);
    }
}
