//! Memory in which every page has a fingerprint.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::ops::Range;

use apf_vocabulary::PAGE_BYTES;

use crate::platform;

const WORDS: usize = PAGE_BYTES / 8;

/// Page-aligned memory, each page filled with a fingerprint of its own.
pub struct Region {
    words: &'static [u64],
}

/// Computes the word at `index` of the region. It is different for every index, so that a
/// page in the wrong place is found as well as a damaged one (splitmix64).
pub fn fingerprint(seed: u64, index: usize) -> u64 {
    let mut z = seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reads all `words`, and returns whether they are the fingerprints from `index` on.
pub fn are_fingerprints(words: &[u64], seed: u64, index: usize) -> bool {
    words.iter().zip(index..).all(|(&word, index)| word == fingerprint(seed, index))
}

/// Returns the ranges of pages, given by their first words, in the guest's physical memory.
///
/// # Panics
/// A page is not mapped, which is impossible after writing to it.
pub fn physical(pages: impl Iterator<Item = *const u64>) -> Vec<Range<u64>> {
    let page = PAGE_BYTES as u64;
    let place = |first| platform::physical_address(first).expect("a page that has been written to");
    let mut pages: Vec<u64> = pages.map(place).collect();
    // Linux allocates pages from high addresses down.
    pages.sort_unstable();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for start in pages {
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end += page,
            _ => ranges.push(start..start + page),
        }
    }
    ranges
}

impl Region {
    /// Allocates and fills `pages` pages. The memory is never freed, because tasks share it.
    pub fn filled(pages: usize, seed: u64) -> Self {
        let layout =
            Layout::from_size_align(pages * PAGE_BYTES, PAGE_BYTES).expect("a region smaller than memory");
        // SAFETY: the layout is not empty: the command line requires at least one page.
        let start = unsafe { alloc(layout) }.cast::<u64>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        for index in 0..pages * WORDS {
            // SAFETY: within the allocation.
            unsafe { start.add(index).write(fingerprint(seed, index)) };
        }
        // SAFETY: allocated and filled above, never freed, never written again.
        Self { words: unsafe { std::slice::from_raw_parts(start, pages * WORDS) } }
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.words.len() / WORDS
    }

    /// Returns its ranges in the guest's physical memory.
    ///
    /// # Panics
    /// A page is not mapped, which is impossible after writing to it.
    pub fn physical(&self) -> Vec<Range<u64>> {
        physical(self.words.iter().step_by(WORDS).map(|first| &raw const *first))
    }

    /// Returns the bytes of `page`.
    pub fn bytes(&self, page: usize) -> &'static [u8] {
        let words = &self.words[page * WORDS..(page + 1) * WORDS];
        // SAFETY: the same memory, as bytes; it is never freed nor written again.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), PAGE_BYTES) }
    }

    /// Returns the address and expected value of the first word of `page`, without reading it.
    pub fn first_word(&self, seed: u64, page: usize) -> (*const u64, u64) {
        let index = page * WORDS;
        (&raw const self.words[index], fingerprint(seed, index))
    }

    /// Reads every byte of a page and returns whether the data is right.
    pub fn is_right(&self, seed: u64, page: usize) -> bool {
        let first = page * WORDS;
        are_fingerprints(&self.words[first..first + WORDS], seed, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_recognises_its_pages_by_seed() {
        let region = Region::filled(8, 1);
        assert!((0..region.pages()).all(|page| region.is_right(1, page)));
        assert!((0..region.pages()).all(|page| !region.is_right(2, page)));
    }
}
