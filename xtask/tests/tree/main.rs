//! Checks of the source tree itself.
//!
//! - [`documents`]: links, paths and test names in the documents exist
//! - [`english`]: the opening words of doc comments
//! - [`imports`]: no two files use each other
//! - [`upstream`]: each patch of the kernel has a text with which it can be proposed

mod documents;
mod english;
mod imports;
mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository's top folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Every file of the tree with this extension and its text, by its path from the top. Hidden
/// folders and those of build products are left out.
fn files(extension: &str) -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, extension: &str, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).expect("a folder of the tree") {
            let path = entry.expect("an entry of the tree").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name.starts_with("target") {
                continue;
            }
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.insert(path.strip_prefix(root()).expect("below the top").to_owned(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root(), extension, &mut found);
    found
}
