//! The store of evicted pages' contents.
//!
//! It is a file in memory that is not mapped: a page's space is freed without a flush of TLBs,
//! which would interrupt every vCPU. So a page takes memory once, in the guest's RAM or here, and a
//! page of zeros takes none.

use crate::error::Error;
use apf_vocabulary::{PAGE_BYTES, mailbox};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// Maximum number of pages that [`Store::read`] returns.
pub const READ_PAGES: usize = 512;

/// Makes the file, before the VMM's sandbox may forbid it.
pub fn file() -> Result<File, Error> {
    // SAFETY: the name is a C string, and the call touches no other memory.
    match unsafe { libc::memfd_create(c"apf-pager".as_ptr(), libc::MFD_CLOEXEC) } {
        -1 => Err(Error::NoStore(io::Error::last_os_error())),
        // SAFETY: a new file descriptor, owned by nothing else.
        fd => Ok(unsafe { File::from_raw_fd(fd) }),
    }
}

/// The store, by page of the guest's RAM.
#[derive(Debug)]
pub struct Store {
    file: File,
    /// For each page, whether it has contents other than zeros.
    written: Vec<bool>,
    /// Pages that start like a mailbox.
    mailboxes: BTreeSet<usize>,
    buffer: Box<[u8]>,
}

impl Store {
    /// Makes a store without pages.
    pub fn new(file: File) -> Self {
        let buffer = vec![0; READ_PAGES * PAGE_BYTES].into_boxed_slice();
        Self { file, written: Vec::new(), mailboxes: BTreeSet::new(), buffer }
    }

    /// Sets the number of pages; new ones are zeros.
    pub fn resize(&mut self, pages: usize) {
        self.written.resize(pages, false);
    }

    /// Reads `count` pages, at most [`READ_PAGES`].
    pub fn read(&mut self, page: usize, count: usize) -> io::Result<&[u8]> {
        let buffer = &mut self.buffer[..count * PAGE_BYTES];
        // Beyond the end of the file there are zeros.
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset(page) + done as u64)? {
                0 => {
                    buffer[done..].fill(0);
                    break;
                }
                read => done += read,
            }
        }
        Ok(buffer)
    }

    /// Writes new contents of the pages from `first` on.
    pub fn put(&mut self, first: usize, contents: &[u8]) -> io::Result<()> {
        let pages: Vec<&[u8]> = contents.chunks(PAGE_BYTES).collect();
        let mut page = first;
        for run in pages.chunk_by(|one, next| is_zero(one) == is_zero(next)) {
            let range = page..page + run.len();
            if is_zero(run[0]) {
                self.clear(range.clone())?;
            } else {
                let start = (page - first) * PAGE_BYTES;
                self.file.write_all_at(&contents[start..start + run.len() * PAGE_BYTES], offset(page))?;
                for (page, contents) in range.clone().zip(run) {
                    self.written[page] = true;
                    match contents.starts_with(&mailbox::MAGIC) {
                        true => self.mailboxes.insert(page),
                        false => self.mailboxes.remove(&page),
                    };
                }
            }
            page = range.end;
        }
        Ok(())
    }

    /// Makes pages zeros, and frees their memory.
    pub fn clear(&mut self, pages: Range<usize>) -> io::Result<()> {
        if !self.written[pages.clone()].contains(&true) {
            return Ok(());
        }
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (start, length) = (offset(pages.start) as i64, offset(pages.len()) as i64);
        // SAFETY: the call changes a file that is not mapped.
        if unsafe { libc::fallocate(self.file.as_raw_fd(), mode, start, length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for page in pages {
            self.written[page] = false;
            self.mailboxes.remove(&page);
        }
        Ok(())
    }

    /// Returns the memory of the stored pages, in bytes.
    pub fn bytes(&self) -> usize {
        self.written.iter().filter(|written| **written).count() * PAGE_BYTES
    }

    /// Returns whether `page` is a mailbox with this request.
    pub fn asks_for(&self, page: usize, request: u64) -> bool {
        let mut header = [0; mailbox::HEADER_BYTES];
        self.mailboxes.contains(&page)
            && self.file.read_exact_at(&mut header, offset(page)).is_ok()
            && mailbox::asks_for(&header, request)
    }

    /// Writes an acknowledgement to a mailbox.
    pub fn acknowledge(&self, page: usize, request: u64) -> io::Result<()> {
        self.file.write_all_at(&request.to_le_bytes(), offset(page) + mailbox::ACK_OFFSET as u64)
    }
}

const fn offset(page: usize) -> u64 {
    (page * PAGE_BYTES) as u64
}

fn is_zero(page: &[u8]) -> bool {
    page.as_chunks::<64>().0.iter().all(|chunk| *chunk == [0; 64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn store() -> Store {
        let mut store = Store::new(file().unwrap());
        store.resize(8);
        store
    }

    #[test]
    fn the_store_keeps_the_last_contents() {
        let mut store = store();
        let mut contents = vec![0; 4 * PAGE_BYTES];
        contents[PAGE_BYTES..][..PAGE_BYTES].fill(5);
        contents[3 * PAGE_BYTES..].fill(6);
        store.put(1, &contents).unwrap();
        assert_eq!(store.read(1, 4).unwrap(), contents);
        assert_eq!(store.read(7, 1).unwrap(), [0; PAGE_BYTES], "never written");
        store.put(2, &[0; PAGE_BYTES]).unwrap();
        assert_eq!(store.read(2, 1).unwrap(), [0; PAGE_BYTES], "zeros replace the old contents");
        assert_eq!(store.read(4, 1).unwrap(), [6; PAGE_BYTES], "and nothing else");
    }

    #[test]
    fn the_store_uses_memory_only_for_the_pages_that_it_holds() {
        let mut store = store();
        let taken = |store: &Store| store.file.metadata().unwrap().blocks() * 512;
        store.put(0, &[1; 8 * PAGE_BYTES]).unwrap();
        assert_eq!((store.bytes(), taken(&store)), (8 * PAGE_BYTES, 8 * PAGE_BYTES as u64));
        store.clear(2..7).unwrap();
        assert_eq!((store.bytes(), taken(&store)), (3 * PAGE_BYTES, 3 * PAGE_BYTES as u64));
        store.put(0, &[0; 8 * PAGE_BYTES]).unwrap();
        assert_eq!((store.bytes(), taken(&store)), (0, 0));
    }

    #[test]
    fn a_mailbox_is_found_and_acknowledged_in_the_store() {
        let mut store = store();
        let mut page = [0; PAGE_BYTES];
        page[..16].copy_from_slice(&mailbox::MAGIC);
        page[16] = 7;
        store.put(3, &page).unwrap();
        assert_eq!((0..8).filter(|page| store.asks_for(*page, 7)).collect::<Vec<_>>(), [3]);
        assert!(!store.asks_for(3, 8));
        store.acknowledge(3, 7).unwrap();
        page[mailbox::ACK_OFFSET] = 7;
        assert_eq!(store.read(3, 1).unwrap(), page);
        store.put(3, &[9; PAGE_BYTES]).unwrap();
        assert!(!store.asks_for(3, 7), "another page now");
    }
}
