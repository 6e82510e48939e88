//! The guest's pages, which of them are present, and the store that holds those that are not.

use crate::error::Error;
use apf_vocabulary::{PAGE_BYTES, mailbox};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The guest's RAM, as the VMM has mapped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestRam {
    pub start: usize,
    pub bytes: usize,
}

impl GuestRam {
    pub fn pages(&self) -> usize {
        self.bytes / PAGE_BYTES
    }

    pub fn address(&self, page: usize) -> usize {
        self.start + page * PAGE_BYTES
    }

    /// The page that `address` lies in, if it lies in the RAM at all.
    pub fn page_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        (offset < self.bytes).then_some(offset / PAGE_BYTES)
    }

    /// Copies a page out.
    ///
    /// # Safety
    ///
    /// The page must be present (or the pager's thread waits for itself), and nobody may be able to
    /// write to it.
    pub unsafe fn read(&self, page: usize, into: &mut [u8]) {
        assert!(page < self.pages() && into.len() == PAGE_BYTES);
        let source = self.address(page) as *const u8;
        // SAFETY: the page is mapped and nobody writes to it, as the caller promises; `into` has
        // its size, and is not guest memory.
        unsafe { source.copy_to_nonoverlapping(into.as_mut_ptr(), PAGE_BYTES) }
    }

    /// Whether `page` is a mailbox with this request, while the guest runs.
    ///
    /// # Safety
    ///
    /// The page must be present, or the pager's thread waits for itself.
    pub unsafe fn asks_for(&self, page: usize, request: u64) -> bool {
        let mut header = [0; mailbox::HEADER_BYTES];
        for (index, word) in header.chunks_exact_mut(8).enumerate() {
            // SAFETY: as the caller promises.
            let value = unsafe { self.word(page, index * 8) }.load(Ordering::Acquire);
            word.copy_from_slice(&value.to_ne_bytes());
        }
        mailbox::asks_for(&header, request)
    }

    /// Acknowledges in a mailbox, while the guest runs.
    ///
    /// # Safety
    ///
    /// The page must be present and not write-protected, or the pager's thread waits for itself;
    /// and it must be a mailbox, whose acknowledgement the guest leaves to the pager.
    pub unsafe fn acknowledge(&self, page: usize, request: u64) {
        // SAFETY: as the caller promises.
        unsafe { self.word(page, mailbox::ACK_OFFSET) }.store(request.to_le(), Ordering::Release);
    }

    /// # Safety
    ///
    /// The page must be mapped as long as the result is used.
    unsafe fn word(&self, page: usize, offset: usize) -> &AtomicU64 {
        assert!(page < self.pages() && offset < PAGE_BYTES && offset.is_multiple_of(8));
        // SAFETY: aligned, mapped as the caller promises, and the guest's accesses count as those
        // of another thread.
        unsafe { AtomicU64::from_ptr((self.address(page) + offset) as *mut u64) }
    }

    /// The pages of a range of guest-physical bytes, if RAM begins at `base`.
    pub fn pages_of(&self, bytes: &Range<u64>, base: u64) -> Result<Range<usize>, Error> {
        let page = PAGE_BYTES as u64;
        let offset = |address: u64| address.checked_sub(base).filter(|offset| offset.is_multiple_of(page));
        let (start, end) = (offset(bytes.start), offset(bytes.end));
        match (start, end) {
            (Some(start), Some(end)) if start < end && end <= self.bytes as u64 => {
                Ok((start / page) as usize..(end / page) as usize)
            }
            _ => Err(Error::BadRange { start: bytes.start, end: bytes.end, ram_bytes: self.bytes }),
        }
    }

    /// Drops `pages`: the next touch faults.
    ///
    /// # Safety
    ///
    /// The contents are gone: the caller must have them, and bring them back at a fault.
    pub unsafe fn drop(&self, pages: &Range<usize>) -> io::Result<()> {
        assert!(pages.end <= self.pages());
        let (start, bytes) = (self.address(pages.start), pages.len() * PAGE_BYTES);
        // SAFETY: the range is in the guest's RAM; that it may go is the caller's promise.
        match unsafe { libc::madvise(start as *mut _, bytes, libc::MADV_DONTNEED) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// `/proc/self/pagemap`: which pages are in memory. `mincore` would not do: it takes pages that the
/// host has swapped out for pages that are not there.
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    const ENTRY_BYTES: usize = size_of::<u64>();
    /// Pages in memory.
    pub const PRESENT: u64 = 1 << 63;
    /// And those that the host has swapped out.
    pub const PRESENT_OR_SWAPPED: u64 = Self::PRESENT | 1 << 62;

    pub fn open() -> Result<Self, Error> {
        File::open("/proc/self/pagemap").map(Self).map_err(Error::NoPagemap)
    }

    /// Calls `each` for every one of `pages` of `ram`, in order, with whether it is one of `those`.
    /// Present or swapped, it has contents in the mapping: reading it does not end in userfaultfd.
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
            let bytes = entries.len().min((pages.end - page) * Self::ENTRY_BYTES);
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

/// Where evicted pages are. Memory that was never written costs nothing, so a page of zeros is
/// written only if there was something else before.
#[derive(Debug)]
pub struct Store {
    /// Zeroed by the kernel on demand, not here.
    contents: Vec<u8>,
    /// Whether a page has ever been written since it was last cleared.
    written: Vec<bool>,
    incoming: Box<[u8; PAGE_BYTES]>,
}

impl Store {
    pub fn new(pages: usize) -> Self {
        Self {
            contents: vec![0; pages * PAGE_BYTES],
            written: vec![false; pages],
            incoming: Box::new([0; PAGE_BYTES]),
        }
    }

    /// The contents of `count` pages.
    pub fn pages(&self, page: usize, count: usize) -> &[u8] {
        &self.contents[page * PAGE_BYTES..][..count * PAGE_BYTES]
    }

    /// Lets `fill` write the new contents of `page`, all of them.
    pub fn put(&mut self, page: usize, fill: impl FnOnce(&mut [u8])) {
        fill(&mut self.incoming[..]);
        if self.incoming.as_chunks::<64>().0.iter().all(|chunk| *chunk == [0; 64]) {
            self.clear(page);
        } else {
            self.contents[page * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&self.incoming[..]);
            self.written[page] = true;
        }
    }

    /// Makes `page` a page of zeros.
    pub fn clear(&mut self, page: usize) {
        if self.written[page] {
            self.contents[page * PAGE_BYTES..][..PAGE_BYTES].fill(0);
            self.written[page] = false;
        }
    }

    /// Whether `page` is a mailbox with this request.
    pub fn asks_for(&self, page: usize, request: u64) -> bool {
        self.written[page] && mailbox::asks_for(self.pages(page, 1), request)
    }

    /// Acknowledges in a mailbox.
    pub fn acknowledge(&mut self, page: usize, request: u64) {
        mailbox::acknowledge(&mut self.contents[page * PAGE_BYTES..][..PAGE_BYTES], request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_pages() {
        let ram = GuestRam { start: 0x10_0000, bytes: 3 * PAGE_BYTES };
        assert_eq!(ram.page_of(ram.start - 1), None);
        assert_eq!(ram.page_of(ram.start), Some(0));
        assert_eq!(ram.page_of(ram.address(2) + 4095), Some(2));
        assert_eq!(ram.page_of(ram.address(3)), None);
    }

    #[test]
    fn ranges_are_whole_pages_of_the_ram() {
        let ram = GuestRam { start: 0x10_0000, bytes: 3 * PAGE_BYTES };
        let base = 0x7000;
        assert_eq!(ram.pages_of(&(0x8000..0xa000), base).unwrap(), 1..3);
        for bad in [0x8000..0xb000, 0x8000..0x8800, 0x7800..0x8000, 0x8000..0x8000, 0x6000..0x8000] {
            let error = ram.pages_of(&bad, base).unwrap_err().to_string();
            assert!(error.contains(&format!("{:#x}..", bad.start)), "{error}");
        }
    }

    #[test]
    fn the_store_keeps_the_last_contents() {
        let mut store = Store::new(2);
        store.put(1, |page| page.fill(5));
        assert_eq!(store.pages(0, 2)[..PAGE_BYTES], [0; PAGE_BYTES]);
        assert_eq!(store.pages(1, 1), [5; PAGE_BYTES]);
        store.put(1, |page| page.fill(0));
        assert_eq!(store.pages(1, 1), [0; PAGE_BYTES], "zeros replace what was there");
    }

    #[test]
    fn present_pages_are_told_from_absent_ones() {
        let page = Box::new([[1u8; PAGE_BYTES]; 3]);
        let start = page.as_ptr().addr().next_multiple_of(PAGE_BYTES);
        let ram = GuestRam { start, bytes: 2 * PAGE_BYTES };
        let mut seen = Vec::new();
        let pagemap = Pagemap::open().unwrap();
        pagemap.scan(&ram, 0..2, Pagemap::PRESENT, |page, present| seen.push((page, present))).unwrap();
        assert_eq!(seen, [(0, true), (1, true)]);
    }
}
