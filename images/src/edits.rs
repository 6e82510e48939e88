//! Exact replacements in a pristine source tree.
//!
//! An edit that does not match as often as it says stops the build: the source
//! is not the one the edits were written for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

/// One replacement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// File, relative to the source tree.
    pub file: PathBuf,
    /// Why it is made.
    pub why: String,
    /// Text to be found.
    pub find: String,
    /// Text to stand in its place.
    pub replace: String,
    /// How often it is found.
    #[serde(default = "once")]
    pub times: usize,
}

const fn once() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    edit: Vec<Edit>,
}

/// Why a tree could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A file of the tree cannot be read.
    #[error("{}: {source}: the source tree is not complete", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text was not found as often as it should be.
    #[error(
        "{}: the edit \"{why}\" matches {found} times instead of {expected}: the source is not the version the edits were written for",
        .file.display()
    )]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// The edit's purpose.
        why: String,
        /// How often it matched.
        found: usize,
        /// How often it should.
        expected: usize,
    },
}

/// Reads a list of edits, in which `@name@` stands for a value of `variables`.
///
/// # Errors
/// The text is not a list of edits.
pub fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Vec<Edit>, toml::de::Error> {
    let mut edits = toml::from_str::<File>(text)?.edit;
    for edit in &mut edits {
        for (name, value) in variables {
            edit.replace = edit.replace.replace(&format!("@{name}@"), value);
        }
    }
    Ok(edits)
}

/// Applies `edits` to the tree at `source` and returns the new contents of the
/// files that change. Nothing is written.
///
/// # Errors
/// [`EditError`], naming the file and the edit.
pub fn apply(source: &Path, edits: &[Edit]) -> Result<BTreeMap<PathBuf, String>, EditError> {
    let mut changed = BTreeMap::new();
    for edit in edits {
        let text = match changed.remove(&edit.file) {
            Some(text) => text,
            None => fs::read_to_string(source.join(&edit.file))
                .map_err(|error| EditError::Read { file: edit.file.clone(), source: error })?,
        };
        let found = text.matches(&edit.find).count();
        if found != edit.times {
            return Err(EditError::Mismatch {
                file: edit.file.clone(),
                why: edit.why.clone(),
                found,
                expected: edit.times,
            });
        }
        changed.insert(edit.file.clone(), text.replace(&edit.find, &edit.replace));
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(find: &str, replace: &str) -> Edit {
        Edit { file: "a.rs".into(), why: "test".into(), find: find.into(), replace: replace.into(), times: 1 }
    }

    fn tree(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.rs"), text).unwrap();
        dir
    }

    #[test]
    fn edits_of_one_file_build_on_each_other() {
        let changed =
            apply(tree("one two").path(), &[edit("one", "three"), edit("three two", "four")]).unwrap();
        assert_eq!(changed[Path::new("a.rs")], "four");
    }

    #[test]
    fn a_mismatch_names_file_and_edit() {
        let none = apply(tree("x").path(), &[edit("one", "")]).unwrap_err().to_string();
        let twice = apply(tree("one one").path(), &[edit("one", "")]).unwrap_err().to_string();
        assert!(none.contains("a.rs") && none.contains("\"test\" matches 0 times"), "{none}");
        assert!(twice.contains("matches 2 times"), "{twice}");
    }

    #[test]
    fn the_kernels_edits_can_be_read_and_give_reasons() {
        let edits = parse(crate::kernel::EDITS, &[("apf-service", "/here")]).unwrap();
        assert!(edits.iter().all(|edit| !edit.why.is_empty()));
        assert!(edits.iter().any(|edit| edit.replace.contains("path = \"/here/kernel\"")));
    }
}
