//! QEMU: where it is, which version, and whether it can host the lab.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    process::Cmd,
    versions::{self, VERSIONS},
};

const PROGRAM: &str = "qemu-system-x86_64";

/// An installed QEMU.
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
        let Ok(path) = which::which(PROGRAM) else { return Ok(None) };
        let text = Cmd::new(&path).arg("--version").quiet().timeout(Duration::from_secs(20)).capture()?;
        let version =
            versions::find(&text).with_context(|| format!("{} tells no version", path.display()))?;
        Ok(Some(Self { version: version.to_owned(), path }))
    }

    /// # Errors
    /// It is too old for the lab; the message says why that matters.
    pub fn fit_for_lab(&self) -> Result<()> {
        let min = &VERSIONS.lab.qemu_min;
        if !versions::at_least(&self.version, min) {
            bail!(
                "the lab needs QEMU {min} or newer and {PROGRAM} is {}: older ones lose the interrupt shadow \
                 of `sti` in nested guests, and with it wake-ups",
                self.version
            );
        }
        Ok(())
    }
}

impl fmt::Display for Qemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_qemu_is_refused_with_the_reason() {
        let qemu = |version: &str| Qemu { path: PROGRAM.into(), version: version.into() };
        assert!(qemu("10.0.2").fit_for_lab().is_ok());
        assert!(qemu("7.2.18").fit_for_lab().unwrap_err().to_string().contains("sti"));
    }
}
