//! The file of a program's working set: pages that an earlier run has shown to be needed after an eviction.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::output::{self, Existing};

/// Version of the file's layout.
const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    /// SHA-256 of the program's file.
    program: String,
    memory_mib: u32,
    cores: u32,
    /// Guest-physical addresses, the first to be needed first.
    pages: Vec<u64>,
}

/// A file, and the guest whose pages it has or is going to have.
#[derive(Debug)]
pub struct WorkingSetFile {
    file: PathBuf,
    existing: Existing,
    record: Record,
}

impl WorkingSetFile {
    /// Opens the `file` of the guest that runs the program with these bytes, or prepares a new one.
    ///
    /// # Errors
    /// It is something else, was made for another guest, or cannot be made in its folder.
    pub fn open(file: &Path, program: &[u8], (memory_mib, cores): (u32, u32)) -> Result<Self> {
        let program = output::sha256(program);
        let own = Record { format: FORMAT, program, memory_mib, cores, pages: vec![] };
        let (existing, record) = match fs::read(file) {
            Ok(bytes) => {
                (Existing::IsReplaced, own.with_pages_of(&bytes).with_context(|| file.display().to_string())?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = output::folder_of(file);
                ensure!(
                    folder.is_dir(),
                    "--working-set {}: there is no folder {}",
                    file.display(),
                    folder.display()
                );
                (Existing::Stays, own)
            }
            Err(error) => bail!("cannot read {}: {error}", file.display()),
        };
        Ok(Self { file: file.to_owned(), existing, record })
    }

    /// Returns its pages, the first to be needed first.
    pub fn pages(&self) -> &[u64] {
        &self.record.pages
    }

    /// Writes these `pages` in place of the earlier ones.
    ///
    /// # Errors
    /// The file cannot be written, or has been made by someone else meanwhile. It is then as it was.
    pub fn write(mut self, pages: Vec<u64>) -> Result<()> {
        self.record.pages = pages;
        output::write_file(&self.file, self.existing, |mut to| {
            serde_json::to_writer(to, &self.record)?;
            to.write_all(b"\n")
        })
    }
}

impl Record {
    /// Returns this guest's record with the pages of another record of it.
    fn with_pages_of(self, bytes: &[u8]) -> Result<Self> {
        let Ok(other) = serde_json::from_slice::<Self>(bytes) else {
            bail!(
                "this is no working set, or a damaged one; give another file, or remove it to have it made anew"
            );
        };
        ensure!(
            other.format == FORMAT,
            "the working set has format {}, not {FORMAT}; remove it",
            other.format
        );
        for (what, its, own) in [
            ("program", &*other.program, &*self.program),
            ("memory size", &format!("{} MiB", other.memory_mib), &format!("{} MiB", self.memory_mib)),
            ("number of virtual CPUs", &other.cores.to_string(), &self.cores.to_string()),
        ] {
            ensure!(
                its == own,
                "the working set was learnt of another {what}: {its}, not {own}; give another file, or remove it to \
                 have it made anew"
            );
        }
        Ok(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    fn open(folder: &Path, app: &str, machine: (u32, u32)) -> Result<WorkingSetFile> {
        WorkingSetFile::open(&folder.join("set"), app.as_bytes(), machine)
    }

    #[test]
    fn a_working_set_survives_its_file_and_is_written_again() {
        let scratch = dirs::scratch("working-set-test").unwrap();
        let open = || open(scratch.path(), "program", (128, 1)).unwrap();
        assert!(open().pages().is_empty());
        open().write(vec![8192, 4096]).unwrap();
        assert_eq!(open().pages(), [8192, 4096]);
        open().write(vec![4096]).unwrap();
        assert_eq!(open().pages(), [4096]);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_working_set_of_another_guest_is_refused_and_the_difference_named() {
        let scratch = dirs::scratch("working-set-test").unwrap();
        open(scratch.path(), "program", (128, 1)).unwrap().write(vec![4096]).unwrap();
        for (app, machine, named) in [
            ("another", (128, 1), "another program"),
            ("program", (256, 1), "another memory size: 128 MiB, not 256 MiB"),
            ("program", (128, 2), "another number of virtual CPUs: 1, not 2"),
        ] {
            let error = format!("{:#}", open(scratch.path(), app, machine).unwrap_err());
            assert!(error.contains(named) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_no_working_set_is_refused_and_stays() {
        let scratch = dirs::scratch("working-set-test").unwrap();
        let file = scratch.path().join("set");
        open(scratch.path(), "program", (128, 1)).unwrap().write(vec![4096; 1000]).unwrap();
        let whole = fs::read(&file).unwrap();
        for bytes in [&b""[..], b"my notes", b"{}", &whole[..whole.len() / 2]] {
            fs::write(&file, bytes).unwrap();
            let error = format!("{:#}", open(scratch.path(), "program", (128, 1)).unwrap_err());
            assert!(error.contains("no working set") && error.contains("set"), "{error}");
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
        fs::remove_file(&file).unwrap();
        let first = open(scratch.path(), "program", (128, 1)).unwrap();
        fs::write(&file, "someone else's").unwrap();
        assert!(first.write(vec![]).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"someone else's");
        let error = WorkingSetFile::open(Path::new("/no/such/set"), b"program", (128, 1)).unwrap_err();
        assert!(error.to_string().contains("there is no folder /no/such"), "{error}");
    }
}
