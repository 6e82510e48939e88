//! Files and descriptors that the pager needs from the kernel.

use crate::error::Error;
use crate::mappings::Smaps;
use crate::pagemap::Pagemap;
use crate::store;
use crate::uffd::Uffd;
use std::fs::File;

/// Files and descriptors of the pager, opened when the library is loaded.
#[derive(Debug)]
pub struct Handles {
    pub uffd: Uffd,
    pub pagemap: Pagemap,
    pub smaps: Smaps,
    /// File for evicted pages.
    pub store: File,
}

impl Handles {
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            uffd: Uffd::open()?,
            pagemap: Pagemap::open()?,
            smaps: Smaps::open()?,
            store: store::file()?,
        })
    }
}
