//! Which fault is to be served when: a heap of due times, first in first out among equals.

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

    /// When the first page is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Takes the first page, if it is due, with its due time.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((due, _, page))| (due, page))
    }

    /// Forgets the pages that `keep` refuses.
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
    fn in_order_of_due_time_and_of_arrival_among_equals() {
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
    fn retain_forgets_and_keeps_order() {
        let now = Instant::now();
        let mut queue = DueQueue::default();
        (0..10).for_each(|page| queue.push(now, page));
        queue.retain(|page| page % 2 == 1);
        assert_eq!(queue.len(), 5);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop_due(now)).map(|(_, page)| page).collect();
        assert_eq!(left, [1, 3, 5, 7, 9]);
    }
}
