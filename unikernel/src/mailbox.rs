//! How the host answers the guest: a page that the pager finds by its first
//! bytes and writes to while it has the page in hand. It works under every VMM.

use std::sync::atomic::{AtomicU64, Ordering};

/// The page, laid out as the pager expects it.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Mailbox {
    magic: [u8; 16],
    request: AtomicU64,
    acknowledged: AtomicU64,
}

const _: () = assert!(size_of::<Mailbox>() == 4096);
const _: () = assert!(core::mem::offset_of!(Mailbox, request) == 16);
const _: () = assert!(core::mem::offset_of!(Mailbox, acknowledged) == 24);

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// An empty mailbox. A program has one, as a static.
    #[must_use]
    pub const fn new() -> Self {
        Self { magic: *b"apf-mailbox\0v1\0\0", request: AtomicU64::new(0), acknowledged: AtomicU64::new(0) }
    }

    /// Writes down the next request and returns its number.
    pub fn next_request(&self) -> u64 {
        self.request.fetch_add(1, Ordering::Release) + 1
    }

    /// Whether the host has done what `request` asked for.
    pub fn is_acknowledged(&self, request: u64) -> bool {
        self.acknowledged.load(Ordering::Acquire) >= request
    }
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
}
