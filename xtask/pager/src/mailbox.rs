//! How the pager tells a guest that it is done, without a channel of the VMM's.
//!
//! A guest page begins with [`MAGIC`], then two little-endian u64: the number of the guest's
//! request, written by the guest, and the number of the request that was last acknowledged, written
//! here. There can be several such pages (a stale copy, the image's initialiser): those count whose
//! request is the one to acknowledge.

/// The first bytes of a mailbox page.
pub const MAGIC: [u8; 16] = *b"apf-mailbox\0v1\0\0";
/// Where the acknowledgement is.
pub const ACK_OFFSET: usize = 24;
/// Magic and request: what it takes to recognise a mailbox.
pub const HEADER_BYTES: usize = ACK_OFFSET;

/// Is a page that starts with `header` a mailbox with this request in it?
pub fn asks_for(header: &[u8], request: u64) -> bool {
    header[..16] == MAGIC && header[16..HEADER_BYTES] == request.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(request: u64) -> [u8; 64] {
        let mut page = [0; 64];
        page[..16].copy_from_slice(&MAGIC);
        page[16..24].copy_from_slice(&request.to_le_bytes());
        page
    }

    #[test]
    fn others_are_no_mailboxes() {
        assert!(asks_for(&mailbox(7), 7));
        assert!(!asks_for(&mailbox(6), 7));
        assert!(!asks_for(&[0; 64], 0));
    }
}
