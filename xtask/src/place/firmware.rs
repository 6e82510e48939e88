//! Files that QEMU opens to boot a kernel, beside its libraries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Cmd;

/// SeaBIOS, its option ROMs for a PVH kernel and for Linux's, and the one that patches the
/// guest's accesses to the local APIC.
const NAMES: [&str; 4] = ["bios-256k.bin", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"];

/// Finds the files of this QEMU.
pub fn files(qemu: &Path) -> Result<Vec<PathBuf>> {
    let folders = Cmd::new(qemu).args(["-L", "help"]).quiet().output()?.stdout;
    let find =
        |name: &&str| folders.lines().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    let each = |name: &&str| {
        find(name)
            .with_context(|| format!("{} has no {name} in {}", qemu.display(), folders.replace('\n', " ")))
    };
    NAMES.iter().map(each).collect()
}
