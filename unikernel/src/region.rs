//! Memory in which every page can be recognised.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::ops::Range;

use apf_vocabulary::PAGE_BYTES;

use crate::platform;

const WORDS: usize = PAGE_BYTES / 8;

/// Page-aligned memory, each page filled with a fingerprint of its own.
pub struct Region {
    words: &'static [u64],
}

/// The word at `index` of the whole region. Different for every place, so that
/// a page in the wrong place is found as surely as a damaged one (splitmix64).
fn fingerprint(seed: u64, index: usize) -> u64 {
    let mut z = seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Region {
    /// Fills `pages` pages. The memory is never freed: tasks share it to the end.
    pub fn filled(pages: usize, seed: u64) -> Self {
        let layout =
            Layout::from_size_align(pages * PAGE_BYTES, PAGE_BYTES).expect("a region smaller than memory");
        // SAFETY: the layout is not empty: the command line demands at least one page.
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

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.words.len() / WORDS
    }

    /// Where it is in the guest's physical memory, as the host sees it.
    ///
    /// # Panics
    /// A page is not mapped, which cannot be: it has been written to.
    pub fn physical(&self) -> Vec<Range<u64>> {
        let page = PAGE_BYTES as u64;
        let place = |first: &u64| platform::physical_address(first).expect("a page that has been written to");
        let mut pages: Vec<u64> = self.words.iter().step_by(WORDS).map(place).collect();
        // Linux hands out pages from above.
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

    /// The bytes of `page`.
    pub fn bytes(&self, page: usize) -> &'static [u8] {
        let words = &self.words[page * WORDS..(page + 1) * WORDS];
        // SAFETY: the same memory, which is never freed nor written again, as bytes.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), PAGE_BYTES) }
    }

    /// Where the first word of `page` is, and what was written there; without reading it.
    pub fn first_word(&self, seed: u64, page: usize) -> (*const u64, u64) {
        let index = page * WORDS;
        (&raw const self.words[index], fingerprint(seed, index))
    }

    /// Reads one page, every byte, and says whether it is what was written.
    pub fn is_right(&self, seed: u64, page: usize) -> bool {
        let first = page * WORDS;
        self.words[first..first + WORDS]
            .iter()
            .zip(first..)
            .all(|(&word, index)| word == fingerprint(seed, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_recognised_and_no_other_seed_is() {
        let region = Region::filled(8, 1);
        assert!((0..region.pages()).all(|page| region.is_right(1, page)));
        assert!((0..region.pages()).all(|page| !region.is_right(2, page)));
    }
}
