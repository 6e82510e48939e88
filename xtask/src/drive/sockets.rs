//! Sockets of a VMM.

use std::path::{Path, PathBuf};

/// Sockets on which one VMM listens.
pub struct Sockets {
    pub pager: PathBuf,
    /// QEMU's monitor, where the guest is to be saved and restored.
    pub monitor: PathBuf,
    /// Of the guest that migrates to this VMM.
    pub migration: PathBuf,
}

impl Sockets {
    /// The sockets of the `nth` VMM of a guest, in `folder`.
    pub fn new(folder: &Path, nth: u32) -> Self {
        let socket = |name: &str| folder.join(format!("{name}-{nth}"));
        Self { pager: socket("pager"), monitor: socket("monitor"), migration: socket("migration") }
    }
}
