//! The pages that are in memory, from `/proc/self/pagemap`. `mincore` is no alternative: for it, a
//! page that the host has swapped out is absent.

use crate::error::Error;
use crate::ram::GuestRam;
use apf_vocabulary::PAGE_BYTES;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The open file.
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    const ENTRY_BYTES: usize = size_of::<u64>();
    /// Bit of pages in memory.
    pub const PRESENT: u64 = 1 << 63;
    /// Bits of pages in memory, or swapped out by the host.
    pub const PRESENT_OR_SWAPPED: u64 = Self::PRESENT | 1 << 62;

    pub fn open() -> Result<Self, Error> {
        File::open("/proc/self/pagemap").map(Self).map_err(Error::NoPagemap)
    }

    /// Calls `each` for every one of `pages` of `ram`, in order, with whether it has one of the bits
    /// `those`. A page that is present or swapped has contents in the mapping: reading it does not
    /// cause a fault in userfaultfd.
    pub fn scan(
        &self,
        ram: &GuestRam,
        pages: Range<usize>,
        those: u64,
        mut each: impl FnMut(usize, bool),
    ) -> Result<(), Error> {
        let mut entries = vec![0; pages.len().min(8192) * Self::ENTRY_BYTES];
        let mut page = pages.start;
        while page < pages.end {
            let end = pages.end.min(ram.end_of_piece(page));
            let bytes = entries.len().min((end - page) * Self::ENTRY_BYTES);
            let at = ram.address(page) / PAGE_BYTES * Self::ENTRY_BYTES;
            self.0.read_exact_at(&mut entries[..bytes], at as u64).map_err(Error::Pagemap)?;
            for entry in entries[..bytes].as_chunks().0 {
                each(page, u64::from_ne_bytes(*entry) & those != 0);
                page += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::Piece;

    #[test]
    fn a_scan_reports_pages_that_are_present() {
        let page = Box::new([[1u8; PAGE_BYTES]; 3]);
        let start = page.as_ptr().addr().next_multiple_of(PAGE_BYTES);
        let mut ram = GuestRam::empty();
        ram.add(Piece { guest: 0, start, bytes: 2 * PAGE_BYTES });
        let mut seen = Vec::new();
        let pagemap = Pagemap::open().unwrap();
        pagemap.scan(&ram, 0..2, Pagemap::PRESENT, |page, present| seen.push((page, present))).unwrap();
        assert_eq!(seen, [(0, true), (1, true)]);
    }
}
