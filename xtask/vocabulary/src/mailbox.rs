//! Page in which the pager acknowledges a guest's request: a channel that works under every VMM.
//!
//! The pager finds the page by its first bytes and writes to it while it has the page in hand.
//! There can be several such pages (a stale copy, the image's initialiser): those count whose
//! request is the one to acknowledge.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::page::PAGE_BYTES;

/// First bytes of a mailbox page.
pub const MAGIC: [u8; 16] = *b"apf-mailbox\0v1\0\0";
/// Offset of the guest's request: a little-endian u64, as is the acknowledgement.
pub const REQUEST_OFFSET: usize = 16;
/// Offset of the request that was acknowledged last.
pub const ACK_OFFSET: usize = 24;
/// Bytes that identify a mailbox and its request.
pub const HEADER_BYTES: usize = ACK_OFFSET;

/// The page as the guest sees it.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Mailbox {
    magic: [u8; 16],
    request: AtomicU64,
    acknowledged: AtomicU64,
}

const _: () = assert!(size_of::<Mailbox>() == PAGE_BYTES && align_of::<Mailbox>() == PAGE_BYTES);
const _: () = assert!(offset_of!(Mailbox, request) == REQUEST_OFFSET);
const _: () = assert!(offset_of!(Mailbox, acknowledged) == ACK_OFFSET);

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// Makes an empty mailbox. A program has one, as a static.
    pub const fn new() -> Self {
        Self { magic: MAGIC, request: AtomicU64::new(0), acknowledged: AtomicU64::new(0) }
    }

    /// Stores the number of the next request and returns it.
    pub fn next_request(&self) -> u64 {
        self.request.fetch_add(1, Ordering::Release) + 1
    }

    /// Returns true if the host has fulfilled `request`.
    pub fn is_acknowledged(&self, request: u64) -> bool {
        self.acknowledged.load(Ordering::Acquire) >= request
    }
}

/// Returns true if a page that starts with `header` is a mailbox with this request in it.
pub fn asks_for(header: &[u8], request: u64) -> bool {
    header[..16] == MAGIC && header[REQUEST_OFFSET..HEADER_BYTES] == request.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_up_and_are_acknowledged_in_order() {
        let mailbox = Mailbox::new();
        let request = mailbox.next_request();
        assert!(!mailbox.is_acknowledged(request));
        mailbox.acknowledged.store(request, Ordering::Release);
        assert!(mailbox.is_acknowledged(request));
        assert!(!mailbox.is_acknowledged(mailbox.next_request()));
    }

    fn page(request: u64) -> [u8; 64] {
        let mut page = [0; 64];
        page[..16].copy_from_slice(&MAGIC);
        page[16..24].copy_from_slice(&request.to_le_bytes());
        page
    }

    #[test]
    fn a_page_without_the_request_is_no_mailbox_for_it() {
        assert!(asks_for(&page(7), 7));
        assert!(!asks_for(&page(6), 7));
        assert!(!asks_for(&[0; 64], 0));
    }
}
