//! QEMU: where it is and which version.

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
    /// Looks on the PATH.
    ///
    /// # Errors
    /// There is one but it does not tell its version.
    pub fn find() -> Result<Option<Self>> {
        which::which(PROGRAM).ok().map(Self::at).transpose()
    }

    /// The one at `path`.
    ///
    /// # Errors
    /// It does not start, or does not tell its version.
    pub fn at(path: PathBuf) -> Result<Self> {
        let text = Cmd::new(&path).arg("--version").quiet().timeout(Duration::from_secs(20)).capture()?;
        let version =
            versions::find(&text).with_context(|| format!("{} tells no version", path.display()))?;
        Ok(Self { version: version.to_owned(), path })
    }
}

impl fmt::Display for Qemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.path.display())
    }
}
