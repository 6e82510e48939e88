//! Evictions that come again and again.

use crate::choice;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::time::{Duration, Instant};

/// What goes, and when it goes the next time.
#[derive(Debug)]
pub struct Periodic {
    pages: Vec<usize>,
    share: f64,
    period: Duration,
    rng: SmallRng,
    next: Instant,
}

impl Periodic {
    /// `share` of `pages` each `period`, drawn anew each time; the first time is at once.
    pub fn new(pages: Vec<usize>, share: f64, period: Duration, seed: u64, now: Instant) -> Self {
        Self { pages, share, period, rng: SmallRng::seed_from_u64(seed), next: now }
    }

    /// When it is the next time.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// All of which a share goes.
    pub fn pages(&self) -> &[usize] {
        &self.pages
    }

    /// What goes this time.
    pub fn draw(&mut self) -> Vec<usize> {
        choice::at_random(&self.pages, self.share, &mut self.rng)
    }

    /// It is over. The period counts from here, so that there is always time in between to get on.
    pub fn done(&mut self, now: Instant) {
        self.next = now + self.period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_draw_each_time_and_a_period_in_between() {
        let now = Instant::now();
        let period = Duration::from_millis(5);
        let new = || Periodic::new((0..1000).collect(), 0.25, period, 7, now);
        let (mut one, mut other) = (new(), new());
        assert_eq!(one.next(), now);
        let (first, second) = (one.draw(), one.draw());
        assert_eq!((first.len(), second.len()), (250, 250));
        assert_ne!(first, second);
        assert_eq!((other.draw(), other.draw()), (first, second), "the same seed, the same course");
        one.done(now + period);
        assert_eq!(one.next(), now + 2 * period);
    }
}
