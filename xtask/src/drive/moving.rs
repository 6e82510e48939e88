//! A guest that is saved and restored while it works, each time in another VMM.
//!
//! ```text
//!   old QEMU                          new QEMU
//!   stop
//!   the pager brings all back
//!   save ──── file ─────────────────► read, stopped
//!   quit                              the pager evicts all
//!                                     go on: each page is a fault again
//! ```
//!
//! The host's half of every fault that is under way is lost with the old QEMU: a fault is then one
//! that the guest was told of and no host works on. Nothing is quiesced, and the instant is random.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use apf_vocabulary::{Mode, Sample};

use super::guest::Guest;
use super::instants::Instants;
use super::memory::Memory;
use super::monitor::Monitor;
use super::sockets::Sockets;
use super::spec::Spec;
use super::vmm;

/// Pages over which the restores of a sample that reads no given number are spread.
const PAGES: f64 = 1024.0;

/// The VMMs of a guest, one after the other.
pub struct Moving {
    folder: PathBuf,
    monitor: Option<Monitor>,
    /// Number of VMMs so far.
    vmms: u32,
    /// Instants of the sample that is running.
    instants: Instants,
    /// Restores in that sample.
    restores: u32,
}

impl Moving {
    /// Connects to the first VMM, whose sockets are in `folder`.
    pub fn new(folder: &Path, sockets: &Sockets) -> Result<Self> {
        let (folder, monitor) = (folder.to_path_buf(), Some(Monitor::connect(&sockets.monitor)?));
        Ok(Self { folder, monitor, vmms: 1, instants: Instants::new(0, 1, 0), restores: 0 })
    }

    /// Chooses the instants of a sample that reads so many `pages`.
    pub fn begin(&mut self, spec: &Spec, pages: Option<f64>, seed: u64) {
        let pages = pages.unwrap_or(PAGES) as u64;
        (self.instants, self.restores) = (Instants::new(spec.restores, pages, spec.seed ^ seed), 0);
    }

    /// Returns true while restores are to come.
    pub const fn is_expected(&self) -> bool {
        self.instants.left() > 0
    }

    /// Returns true if one is due after so many pages.
    pub fn has_come(&mut self, pages: u64) -> bool {
        self.instants.has_come(pages)
    }

    /// Saves the guest, ends its VMM, and lets it go on in another one with all memory evicted.
    pub fn restore_elsewhere(&mut self, spec: &Spec, guest: &mut Guest, memory: &mut Memory) -> Result<()> {
        let snapshot = self.folder.join("snapshot");
        let mut old = self.monitor.take().expect("connected");
        old.stop()?;
        memory.leave()?;
        old.save(&snapshot)?;
        old.quit()?;
        let sockets = Sockets::new(&self.folder, self.vmms);
        guest.go_on_in(vmm::command(spec, &sockets, Some(&snapshot)))?;
        let mut new = Monitor::connect(&sockets.monitor)?;
        new.wait_until_loaded()?;
        fs::remove_file(&snapshot)?;
        memory.enter(sockets.pager, guest.id())?;
        new.go_on()?;
        (self.monitor, self.vmms, self.restores) = (Some(new), self.vmms + 1, self.restores + 1);
        Ok(())
    }

    /// Checks that a sample was restored as often as it should be, and that its guest noticed.
    ///
    /// # Errors
    /// It was not, or did not.
    pub fn end(&mut self, spec: &Spec, sample: &Sample) -> Result<()> {
        let (done, wanted) = (self.restores, spec.restores);
        ensure!(
            done == wanted,
            "the guest was restored {done} times, not {wanted}: its sample ended before; use more --pages"
        );
        let noticed = sample.counts.get("restored").copied().unwrap_or(0);
        let expected = match sample.mode {
            Mode::Blocked => 0,
            _ => u64::from(done * spec.cores),
        };
        ensure!(
            noticed == expected,
            "the guest noticed {noticed} restores of its virtual CPUs instead of {expected}"
        );
        Ok(())
    }
}
