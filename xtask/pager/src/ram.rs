//! The guest's RAM: pieces of the VMM's memory, numbered page by page.

use crate::error::Error;
use apf_vocabulary::{PAGE_BYTES, mailbox};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A range of RAM that is contiguous for the guest and in the VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Guest-physical address.
    pub guest: u64,
    /// Address in this process.
    pub start: usize,
    pub bytes: usize,
}

impl Piece {
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes
    }

    /// Returns the part with these addresses in this process.
    fn part(&self, range: Range<usize>) -> Self {
        Self { guest: self.guest + (range.start - self.start) as u64, start: range.start, bytes: range.len() }
    }
}

/// The guest's RAM. Its pages are numbered in the order of their guest-physical addresses, without
/// gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRam {
    /// Sorted by guest-physical address.
    pieces: Vec<Piece>,
}

impl GuestRam {
    pub const fn empty() -> Self {
        Self { pieces: Vec::new() }
    }

    /// Adds the part of `piece` that is not yet known.
    pub fn add(&mut self, piece: Piece) {
        let mut known: Vec<Range<usize>> = self.pieces.iter().map(Piece::range).collect();
        known.sort_by_key(|range| range.start);
        let (mut start, end) = (piece.start, piece.range().end);
        for range in known {
            if start < range.start.min(end) {
                self.pieces.push(piece.part(start..range.start.min(end)));
            }
            start = start.max(range.end);
        }
        if start < end {
            self.pieces.push(piece.part(start..end));
        }
        self.pieces.sort_by_key(|piece| piece.guest);
        self.pieces.dedup_by(|next, before| {
            let follows =
                before.range().end == next.start && before.guest + before.bytes as u64 == next.guest;
            before.bytes += if follows { next.bytes } else { 0 };
            follows
        });
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    pub fn pages(&self) -> usize {
        self.bytes() / PAGE_BYTES
    }

    /// Returns the piece with `page`, and the numbers of the piece's pages.
    fn piece(&self, page: usize) -> (&Piece, Range<usize>) {
        let mut first = 0;
        for piece in &self.pieces {
            let pages = first..first + piece.bytes / PAGE_BYTES;
            if pages.contains(&page) {
                return (piece, pages);
            }
            first = pages.end;
        }
        panic!("page {page} of {first}")
    }

    pub fn address(&self, page: usize) -> usize {
        let (piece, pages) = self.piece(page);
        piece.start + (page - pages.start) * PAGE_BYTES
    }

    /// Returns the guest-physical address of `page`.
    pub fn guest_address(&self, page: usize) -> u64 {
        let (piece, pages) = self.piece(page);
        piece.guest + ((page - pages.start) * PAGE_BYTES) as u64
    }

    /// Returns the page after the last one of the piece with `page`: memory has no gap before it.
    pub fn end_of_piece(&self, page: usize) -> usize {
        self.piece(page).1.end
    }

    /// Returns the page at `offset` bytes in the first piece for which that is a valid offset.
    fn find(&self, offset: impl Fn(&Piece) -> Option<usize>) -> Option<usize> {
        let mut first = 0;
        for piece in &self.pieces {
            if let Some(offset) = offset(piece).filter(|offset| *offset < piece.bytes) {
                return Some(first + offset / PAGE_BYTES);
            }
            first += piece.bytes / PAGE_BYTES;
        }
        None
    }

    /// Returns the page at an address of this process, if it is RAM.
    pub fn page_of(&self, address: usize) -> Option<usize> {
        self.find(|piece| address.checked_sub(piece.start))
    }

    /// Returns the page at a guest-physical address, if it is RAM.
    pub fn page_at(&self, guest: u64) -> Option<usize> {
        self.find(|piece| guest.checked_sub(piece.guest).map(|offset| offset as usize))
    }

    /// Returns the address in this process of a guest-physical address, if it is RAM.
    pub fn pointer(&self, guest: u64) -> Option<*mut u8> {
        let offset = guest as usize % PAGE_BYTES;
        self.page_at(guest).map(|page| (self.address(page) + offset) as *mut u8)
    }

    /// Returns the pages of a range of guest-physical bytes.
    pub fn pages_of(&self, bytes: &Range<u64>) -> Result<Range<usize>, Error> {
        let bad = || Error::BadRange { start: bytes.start, end: bytes.end, ram_bytes: self.bytes() };
        let whole = |address: u64| address.is_multiple_of(PAGE_BYTES as u64);
        if bytes.is_empty() || !whole(bytes.start) || !whole(bytes.end) {
            return Err(bad());
        }
        let (first, last) = (self.page_at(bytes.start), self.page_at(bytes.end - 1));
        let pages = first.ok_or_else(bad)?..last.ok_or_else(bad)? + 1;
        // Page numbers have no gaps, so a gap in memory makes the counts differ.
        let count = ((bytes.end - bytes.start) / PAGE_BYTES as u64) as usize;
        if pages.len() == count { Ok(pages) } else { Err(bad()) }
    }

    /// Returns the contents of `pages`, which must be of one piece.
    ///
    /// # Safety
    /// The pages must be present (or the pager's thread waits for itself), and must not be written or
    /// dropped while the result is used.
    pub unsafe fn contents(&self, pages: &Range<usize>) -> &[u8] {
        assert!(pages.end <= self.end_of_piece(pages.start));
        let start = self.address(pages.start) as *const u8;
        // SAFETY: mapped memory of one piece; the caller guarantees that it stays and does not change.
        unsafe { std::slice::from_raw_parts(start, pages.len() * PAGE_BYTES) }
    }

    /// Returns whether `page` is a mailbox with this request, while the guest runs.
    ///
    /// # Safety
    /// The page must be present, or the pager's thread waits for itself.
    pub unsafe fn asks_for(&self, page: usize, request: u64) -> bool {
        let mut header = [0; mailbox::HEADER_BYTES];
        for (index, word) in header.chunks_exact_mut(8).enumerate() {
            // SAFETY: the caller's obligation.
            let value = unsafe { self.word(page, index * 8) }.load(Ordering::Acquire);
            word.copy_from_slice(&value.to_ne_bytes());
        }
        mailbox::asks_for(&header, request)
    }

    /// Writes an acknowledgement to a mailbox, while the guest runs.
    ///
    /// # Safety
    /// The page must be present and not write-protected, or the pager's thread waits for itself;
    /// and it must be a mailbox, whose acknowledgement the guest leaves to the pager.
    pub unsafe fn acknowledge(&self, page: usize, request: u64) {
        // SAFETY: the caller's obligation.
        unsafe { self.word(page, mailbox::ACK_OFFSET) }.store(request.to_le(), Ordering::Release);
    }

    /// Returns a word of a page.
    ///
    /// # Safety
    /// The page must be mapped while the result is used.
    unsafe fn word(&self, page: usize, offset: usize) -> &AtomicU64 {
        assert!(offset < PAGE_BYTES && offset.is_multiple_of(8));
        // SAFETY: aligned; mapped, as the caller guarantees; the guest's accesses count as those of
        // another thread.
        unsafe { AtomicU64::from_ptr((self.address(page) + offset) as *mut u64) }
    }

    /// Drops `pages`, which must be of one piece: the next touch faults.
    ///
    /// # Safety
    /// The contents are lost: the caller must have a copy, and bring it back at a fault.
    pub unsafe fn drop(&self, pages: &Range<usize>) -> io::Result<()> {
        assert!(pages.end <= self.end_of_piece(pages.start));
        let (start, bytes) = (self.address(pages.start), pages.len() * PAGE_BYTES);
        // SAFETY: the range is in the guest's RAM; the caller has a copy of its contents.
        match unsafe { libc::madvise(start as *mut _, bytes, libc::MADV_DONTNEED) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pieces whose addresses in the VMM are in the other order.
    fn ram() -> GuestRam {
        let mut ram = GuestRam::empty();
        ram.add(Piece { guest: 0x9000, start: 0x10_0000, bytes: 2 * PAGE_BYTES });
        ram.add(Piece { guest: 0x7000, start: 0x20_0000, bytes: 2 * PAGE_BYTES });
        ram
    }

    #[test]
    fn pages_are_numbered_in_the_guests_order() {
        let ram = ram();
        assert_eq!(ram.pages(), 4);
        assert_eq!([0, 1, 2, 3].map(|page| ram.address(page)), [0x20_0000, 0x20_1000, 0x10_0000, 0x10_1000]);
        assert_eq!([0, 1, 2, 3].map(|page| ram.end_of_piece(page)), [2, 2, 4, 4]);
        for (address, page) in [
            (0xf_ffff, None),
            (0x10_0000, Some(2)),
            (0x10_1fff, Some(3)),
            (0x10_2000, None),
            (0x20_1000, Some(1)),
        ] {
            assert_eq!(ram.page_of(address), page, "{address:#x}");
        }
    }

    #[test]
    fn ranges_are_whole_pages_of_the_ram() {
        let mut ram = ram();
        assert_eq!(ram.pages_of(&(0x8000..0xa000)).unwrap(), 1..3, "across two pieces");
        ram.add(Piece { guest: 0x1_0000, start: 0x30_0000, bytes: PAGE_BYTES });
        for bad in
            [0x8000..0xc000, 0x8000..0x8800, 0x7800..0x8000, 0x8000..0x8000, 0x6000..0x8000, 0xa000..0x1_1000]
        {
            let error = ram.pages_of(&bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{:#x}..", bad.start)), "{error}");
        }
    }

    #[test]
    fn ram_that_is_added_twice_counts_once() {
        let piece = |guest, start: usize, pages: usize| Piece { guest, start, bytes: pages * PAGE_BYTES };
        let mut ram = GuestRam::empty();
        ram.add(piece(0x5000, 0x10_5000, 2));
        ram.add(piece(0x1000, 0x10_1000, 8));
        assert_eq!(ram.pieces(), [piece(0x1000, 0x10_1000, 8)], "a slot around another");
        ram.add(piece(0x2000, 0x10_2000, 3));
        assert_eq!(ram.pages(), 8, "a part of a slot");
        ram.add(piece(0x9000, 0x10_9000, 1));
        assert_eq!(ram.pieces(), [piece(0x1000, 0x10_1000, 9)], "an adjacent slot");
        ram.add(piece(0xa000, 0x20_0000, 1));
        assert_eq!(ram.pieces().len(), 2, "adjacent for the guest only");
    }
}
