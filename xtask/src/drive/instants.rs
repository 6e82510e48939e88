//! Instants at which a guest moves to another VMM.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Most pages between two instants. A guest that migrates reads pages that do not come in by the pager.
const MOST_PAGES: u64 = 512;

/// Instants spread over a sample, by the number of pages that have come in since it began. Random,
/// and the same for the same seed. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Instants {
    seed: u64,
    /// Pages between two instants at most.
    gap: u64,
    /// Number of pages at the next instant.
    next: u64,
    left: u32,
}

impl Instants {
    /// Spreads `number` instants over the time in which `pages` come in, or over the beginning of a
    /// long one.
    pub fn new(number: u32, pages: u64, seed: u64) -> Self {
        let gap = (pages / u64::from(number.max(1))).clamp(1, MOST_PAGES);
        let mut instants = Self { seed, gap, next: 0, left: number };
        instants.choose(0);
        instants
    }

    /// Returns the number of instants that have not come.
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Returns true once for each instant, when it has come.
    pub fn has_come(&mut self, pages: u64) -> bool {
        let come = self.left > 0 && pages >= self.next;
        if come {
            self.left -= 1;
            self.choose(pages);
        }
        come
    }

    fn choose(&mut self, pages: u64) {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.left).hash(&mut hasher);
        self.next = pages + 1 + hasher.finish() % self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(seed: u64) -> Vec<u64> {
        let mut instants = Instants::new(6, 600, seed);
        (0..=600).filter(|pages| instants.has_come(*pages)).collect()
    }

    #[test]
    fn all_instants_come_within_the_pages_and_depend_on_the_seed() {
        assert_eq!((instants(1).len(), instants(2).len()), (6, 6));
        assert_ne!(instants(1), instants(2));
        assert_eq!(instants(1), instants(1));
        let mut none = Instants::new(0, 600, 1);
        assert!(!none.has_come(600) && none.left() == 0);
    }
}
