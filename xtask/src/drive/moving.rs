//! A guest that moves to another VMM while it works, by a snapshot or by a migration.
//!
//! ```text
//!   old QEMU                          new QEMU
//!   stop
//!   the pager brings all back
//!
//!   by a snapshot
//!     save ──── file ───────────────► read
//!     quit                            starts, once the old one's network is free
//!                                     the pager evicts all
//!                                     go on: each page is a fault again
//!   by a migration (postcopy)
//!                                     starts, and waits for a guest
//!     migrate, and switch over ─────► go on: each page is a fault, until it has followed
//!     quit, once all have followed
//!                                     the pager evicts all
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
use super::spec::{Spec, Way};
use super::vmm::{self, Boots};

/// Pages over which the moves of a sample that reads no given number are spread.
const PAGES: f64 = 1024.0;

/// The VMMs of a guest, one after the other.
pub struct Moving {
    folder: PathBuf,
    monitor: Option<Monitor>,
    /// Number of VMMs so far.
    vmms: u32,
    /// Instants of the sample that is running.
    instants: Instants,
    /// Moves in that sample.
    moves: u32,
}

impl Moving {
    /// Connects to the first VMM, whose sockets are in `folder`.
    pub fn new(folder: &Path, sockets: &Sockets) -> Result<Self> {
        let (folder, monitor) = (folder.to_path_buf(), Some(Monitor::connect(&sockets.monitor)?));
        Ok(Self { folder, monitor, vmms: 1, instants: Instants::default(), moves: 0 })
    }

    /// Chooses the instants of the sample that is running, all of whose memory has been evicted and
    /// which reads so many `pages`.
    pub fn begin(&mut self, spec: &Spec, pages: Option<f64>, seed: u64) {
        let left = spec.moves.number.saturating_sub(self.moves);
        self.instants = Instants::new(left, pages.unwrap_or(PAGES) as u64, spec.seed ^ seed);
    }

    /// Leaves the guest where it is, until [`begin`](Self::begin): it has read what it wanted.
    pub fn pause(&mut self) {
        self.instants = Instants::default();
    }

    /// Returns true while moves are to come.
    pub const fn is_expected(&self) -> bool {
        self.instants.left() > 0
    }

    /// Returns true if one is due after so many pages.
    pub fn has_come(&mut self, pages: u64) -> bool {
        self.instants.has_come(pages)
    }

    /// Moves the guest. It then goes on in another VMM, with all memory evicted. Returns the number of its
    /// pages.
    pub fn act(&mut self, spec: &Spec, guest: &mut Guest, memory: &mut Memory) -> Result<u64> {
        let mut old = self.monitor.take().expect("connected");
        // First: the instant is now.
        old.stop()?;
        memory.bring_back()?;
        let sockets = Sockets::new(&self.folder, self.vmms);
        let next = vmm::command(spec, &sockets, Boots::Nothing);
        let mut new = match spec.moves.way {
            Way::Snapshot => {
                let snapshot = self.folder.join("snapshot");
                old.save(&snapshot)?;
                leave(old, guest, memory)?;
                guest.go_on_in(guest.start_next(next)?);
                let mut new = Monitor::connect(&sockets.monitor)?;
                new.load(&snapshot)?;
                fs::remove_file(&snapshot)?;
                new
            }
            Way::Postcopy => {
                let next = guest.start_next(next)?;
                let mut new = Monitor::connect(&sockets.monitor)?;
                new.listen(&sockets.migration)?;
                old.migrate(&sockets.migration)?;
                leave(old, guest, memory)?;
                guest.go_on_in(next);
                new
            }
        };
        let pages = memory.enter(sockets.pager, guest.id())?;
        // After a migration it runs already.
        new.go_on()?;
        (self.monitor, self.vmms, self.moves) = (Some(new), self.vmms + 1, self.moves + 1);
        Ok(pages)
    }

    /// Checks that the guest of a sample was moved as often as it should be, and noticed: that each
    /// wake-all is one that it did not cause. One that moves again before it has run has had none.
    ///
    /// # Errors
    /// It was not, or did not.
    pub fn end(&mut self, spec: &Spec, sample: &Sample) -> Result<()> {
        let (done, wanted) = (std::mem::take(&mut self.moves), spec.moves.number);
        ensure!(
            done == wanted,
            "the guest moved {done} times, not {wanted}: its sample was over before; let it read more pages"
        );
        let count = |name: &str| sample.counts.get(name).copied().unwrap_or(0);
        let (noticed, told) = (count("restored"), count("wake_all"));
        let most = if sample.mode == Mode::Blocked { 0 } else { u64::from(done * spec.cores) };
        ensure!(
            noticed == told && (1.min(most)..=most).contains(&noticed),
            "the virtual CPUs noticed {noticed} moves and were told of {told}; there were {most}"
        );
        Ok(())
    }
}

/// Ends the VMM that the guest has left, whose counts are kept.
fn leave(old: Monitor, guest: &mut Guest, memory: &mut Memory) -> Result<()> {
    memory.leave()?;
    old.quit()?;
    guest.leave()
}
