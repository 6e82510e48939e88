//! Patch series: a folder of files `NNNN-title.patch`, applied in order to a source tree
//! by GNU patch, without fuzz and offset: the sources are pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Cmd;

/// Returns the patches in `folder`, in order.
pub fn series(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut patches = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    for (number, patch) in (1..).zip(&patches) {
        ensure!(
            name(patch).starts_with(&format!("{number:04}-")),
            "{}: the number of this patch should be {number:04}; rename it",
            patch.display()
        );
    }
    Ok(patches)
}

/// Applies `series` to the source in `tree`.
///
/// # Errors
/// A patch does not apply; the message names the patch and the file.
pub fn apply(series: &[PathBuf], tree: &Path) -> Result<()> {
    for patch in series {
        let output = Cmd::new("patch")
            // `--force` asks no question and reverses no patch.
            .args(["--strip=1", "--fuzz=0", "--force", "--no-backup-if-mismatch", "--input"])
            .arg(patch)
            .env("LC_ALL", "C")
            .cwd(tree)
            .quiet()
            .doing(format!("applying {}", name(patch)))
            .timeout(Duration::from_secs(60))
            .output()?;
        if !output.status.success() || output.stdout.contains("(offset ") {
            bail!(
                "{} does not apply: the source is not the one it was made for\n{}{}",
                patch.display(),
                output.stdout,
                output.stderr
            );
        }
    }
    Ok(())
}

/// Returns the file name of `patch`.
pub fn name(patch: &Path) -> String {
    patch.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    /// Applies a patch of the third line of `a` to a tree with the file `a`.
    fn apply_to(test: &str, a: &str) -> Result<String> {
        let tree = dirs::scratch(test)?;
        let patch = tree.path().join("0001-third.patch");
        fs::write(&patch, "--- a/a\n+++ b/a\n@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n")?;
        fs::write(tree.path().join("a"), a)?;
        apply(&[patch], tree.path())?;
        Ok(fs::read_to_string(tree.path().join("a"))?)
    }

    #[test]
    fn a_patch_that_fits_is_applied() {
        assert_eq!(apply_to("fits", "1\n2\n3\n4\n5\n").unwrap(), "1\n2\nthree\n4\n5\n");
    }

    #[test]
    fn a_patch_that_does_not_apply_is_named_with_its_file() {
        let error = apply_to("misses", "1\n2\nIII\n4\n5\n").unwrap_err().to_string();
        assert!(error.contains("0001-third.patch does not apply"), "{error}");
        assert!(error.contains("patching file a\nHunk #1 FAILED at 2"), "{error}");
    }

    #[test]
    fn a_patch_that_applies_with_an_offset_is_refused() {
        let error = apply_to("offset", "0\n1\n2\n3\n4\n5\n").unwrap_err().to_string();
        assert!(error.contains("(offset 1 line)"), "{error}");
    }

    #[test]
    fn a_patch_applied_twice_is_an_error() {
        assert!(apply_to("twice", "1\n2\nthree\n4\n5\n").is_err());
    }

    #[test]
    fn a_series_with_a_gap_is_refused() {
        let folder = dirs::scratch("gap").unwrap();
        for name in ["0001-a.patch", "0003-c.patch", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let error = series(folder.path()).unwrap_err().to_string();
        assert!(error.contains("0003-c.patch: the number of this patch should be 0002"), "{error}");
    }
}
