//! An application that the loader takes.

use std::fs;
use std::panic;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// An application that the loader takes.
pub struct App {
    /// The file's bytes, without symbols.
    pub bytes: Vec<u8>,
    /// Bytes of memory that it takes.
    pub memory: u64,
    /// Its address, if it cannot be anywhere else.
    pub linked_at: Option<u64>,
}

impl App {
    /// Reads the file and checks it as the loader would.
    ///
    /// # Errors
    /// It cannot be read, or the loader would refuse it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            fs::read(path).with_context(|| format!("cannot read the application {}", path.display()))?;
        let (memory, linked_at) = judge(&bytes).with_context(|| {
            format!(
                "{} is no application for Hermit's loader; please give an ELF file that was linked with a Hermit kernel",
                path.display()
            )
        })?;
        Ok(Self { bytes, memory, linked_at })
    }
}

/// The memory that an application takes, and its address if that is fixed.
///
/// `hermit-entry` takes a damaged file with a panic. The loader reports that as
/// malformed, and so does this.
fn judge(bytes: &[u8]) -> Result<(u64, Option<u64>)> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let judged = panic::catch_unwind(|| {
        let object = apf_loader::image::parse(bytes)?;
        Ok((object.mem_size() as u64, object.start_addr()))
    });
    panic::set_hook(hook);
    judged.unwrap_or_else(|_| Err(anyhow!("the image file is malformed: hermit-entry cannot read it")))
}
