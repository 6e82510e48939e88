//! Initramfs archives: the lab's (busybox, `images/lab/init`, kernel modules), and a Linux
//! guest's (one program).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};

use super::modules::{self, Modules};

/// The lab's first process.
pub const INIT: &str = include_str!("../../../images/lab/init");
/// The modules that it loads.
pub const MODULES: &str = include_str!("../../../images/lab/modules");

const DIR: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const REGULAR: u32 = 0o100_644;
const CHAR_DEVICE: u32 = 0o020_600;

/// Writes the lab's archive to `target`, with modules from an unpacked kernel's folder.
pub fn build(target: &Path, module_dir: &Path, busybox: &Path) -> Result<()> {
    let order = Modules::list(module_dir)?.load_order(&modules::parse_list(MODULES))?;
    let file = File::create(target).with_context(|| format!("cannot write {}", target.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for dir in ["bin", "dev", "proc", "sys", "modules", "host"] {
        archive.add(Builder::new(dir).mode(DIR), &[])?;
    }
    archive.console()?;
    archive.add(Builder::new("init").mode(EXECUTABLE), INIT.as_bytes())?;
    archive.add(Builder::new("bin/busybox").mode(EXECUTABLE), &read(busybox)?)?;
    for (index, path) in order.iter().enumerate() {
        // The number makes the shell's `*` expand in load order.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.add(Builder::new(&format!("modules/{index:02}-{name}")).mode(REGULAR), &read(path)?)?;
    }
    archive.finish()
}

/// Writes a Linux guest's archive to `target`, with `program` as its first process.
pub fn of_program(target: &Path, program: &Path) -> Result<()> {
    let file = File::create(target).with_context(|| format!("cannot write {}", target.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for dir in ["dev", "proc"] {
        archive.add(Builder::new(dir).mode(DIR), &[])?;
    }
    archive.console()?;
    archive.file(Path::new("init"), true, &read(program)?)?;
    archive.finish()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// An archive that Linux unpacks into the root file system. A file may hold several, one
/// after the other.
pub struct Archive<W> {
    out: W,
    inode: u32,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// Starts an empty archive.
    pub const fn new(out: W) -> Self {
        Self { out, inode: 0, folders: BTreeSet::new() }
    }

    /// Adds the file `name`, writable by its owner only, and its parent folders.
    pub fn file(&mut self, name: &Path, executable: bool, bytes: &[u8]) -> Result<()> {
        self.folders_of(name)?;
        let mode = if executable { EXECUTABLE } else { REGULAR };
        self.add(Builder::new(&name.to_string_lossy()).mode(mode), bytes)
    }

    /// Adds the console, which the kernel opens for the first process before any mount.
    fn console(&mut self) -> Result<()> {
        self.add(Builder::new("dev/console").mode(CHAR_DEVICE).rdev_major(5).rdev_minor(1), &[])
    }

    fn folders_of(&mut self, name: &Path) -> Result<()> {
        let Some(folder) = name.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            return Ok(());
        };
        self.folders_of(folder)?;
        if self.folders.insert(folder.to_path_buf()) {
            self.add(Builder::new(&folder.to_string_lossy()).mode(DIR), &[])?;
        }
        Ok(())
    }

    fn add(&mut self, entry: Builder, bytes: &[u8]) -> Result<()> {
        self.inode += 1;
        let mut writer = entry.ino(self.inode).nlink(1).write(self.out.by_ref(), u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<()> {
        let mut out = trailer(self.out)?;
        out.flush()?;
        Ok(())
    }
}
