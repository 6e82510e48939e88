//! The installed QEMU and its version.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{process::Cmd, versions};

const PROGRAM: &str = "qemu-system-x86_64";

/// A QEMU that starts.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub path: PathBuf,
    pub version: String,
}

impl Qemu {
    /// Finds it in the PATH.
    pub fn find() -> Result<Option<Self>> {
        which::which(PROGRAM).ok().map(Self::at).transpose()
    }

    /// Takes the QEMU at `path`.
    ///
    /// # Errors
    /// It does not start, or prints no version.
    pub fn at(path: PathBuf) -> Result<Self> {
        let text = Cmd::new(&path).arg("--version").quiet().timeout(Duration::from_secs(20)).capture()?;
        let version = versions::find(&text)
            .with_context(|| format!("`{} --version` prints no version", path.display()))?;
        Ok(Self { version: version.to_owned(), path })
    }
}

impl fmt::Display for Qemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.path.display())
    }
}
