//! Size of a page.

/// Bytes of a page. The host evicts and brings back in these, whatever larger pages were mapped before.
pub const PAGE_BYTES: usize = 4096;
/// Pages of a mebibyte.
pub const PAGES_PER_MIB: u32 = 256;

const _: () = assert!(PAGE_BYTES * PAGES_PER_MIB as usize == 1 << 20);
