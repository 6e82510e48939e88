//! Periodic evictions.

use crate::choice;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::time::{Duration, Instant};

/// A periodic eviction: its pages, and the time of the next one.
#[derive(Debug)]
pub struct Periodic {
    pages: Vec<usize>,
    share: f64,
    period: Duration,
    rng: SmallRng,
    next: Instant,
}

impl Periodic {
    /// Evicts `share` of `pages` each `period`, drawn again each time, starting now.
    pub fn new(pages: Vec<usize>, share: f64, period: Duration, seed: u64, now: Instant) -> Self {
        Self { pages, share, period, rng: SmallRng::seed_from_u64(seed), next: now }
    }

    /// Returns the time of the next eviction.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Returns the pages of which a share is evicted.
    pub fn pages(&self) -> &[usize] {
        &self.pages
    }

    /// Draws the pages of this eviction.
    pub fn draw(&mut self) -> Vec<usize> {
        choice::at_random(&self.pages, self.share, &mut self.rng)
    }

    /// Records the end of an eviction. The period starts here, so that the guest always has time
    /// between two evictions.
    pub fn done(&mut self, now: Instant) {
        self.next = now + self.period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_periodic_eviction_draws_again_after_each_period() {
        let now = Instant::now();
        let period = Duration::from_millis(5);
        let new = || Periodic::new((0..1000).collect(), 0.25, period, 7, now);
        let (mut one, mut other) = (new(), new());
        assert_eq!(one.next(), now);
        let (first, second) = (one.draw(), one.draw());
        assert_eq!((first.len(), second.len()), (250, 250));
        assert_ne!(first, second);
        assert_eq!((other.draw(), other.draw()), (first, second), "the same seed gives the same draws");
        one.done(now + period);
        assert_eq!(one.next(), now + 2 * period);
    }
}
