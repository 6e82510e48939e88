//! Files that this program makes in a folder of the user's choice. Nothing of the user's is
//! replaced or deleted, and what is written is complete or absent.
//!
//! A list in the folder ([`LIST`], as sha256sum prints it) names the files that this program made
//! there, with their contents. Any other file, and one that was changed since, is the user's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::dirs;
use crate::process::Scratch;

/// Name of the list.
const LIST: &str = ".made-by-apf.sha256";

/// A file: its name, without folders, and its contents.
pub type File = (String, Vec<u8>);

/// Treatment of files of the list that are not written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// They stay.
    Keep,
    /// They are removed: the folder holds the files of one call.
    Remove,
}

/// Writes files into a folder, all or none, and returns their paths.
///
/// # Errors
/// A file of the user's is in the way, or a file cannot be written; nothing was changed then.
pub fn write(folder: &Path, files: &[File], earlier: Earlier) -> Result<Vec<PathBuf>> {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let old = List::read(folder);
    for (name, bytes) in files {
        old.permits(folder, name, Some(bytes))?;
    }
    let new = List(files.iter().map(|(name, bytes)| (sha256(bytes), name.clone())).collect());
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let stage = tempfile::Builder::new().prefix(".apf-").tempdir_in(folder);
    let stage =
        Scratch::guard(stage.with_context(|| format!("cannot write to {}", folder.display()))?.keep());
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(stage.path().join(name), bytes).with_context(|| format!("cannot write {}", file.display()))
    };
    let publish = |name: &str| {
        let file = folder.join(name);
        fs::rename(stage.path().join(name), &file)
            .map(|()| file.clone())
            .with_context(|| format!("cannot write {}", file.display()))
    };
    for (name, bytes) in files {
        put(name, bytes)?;
    }
    // The old contents and the new: whatever ends this now, each file is known.
    put(LIST, List(&old.0 | &new.0).text().as_bytes())?;
    publish(LIST)?;
    let written = names.iter().map(|name| publish(name)).collect::<Result<_>>()?;
    let mut kept = new;
    for (hash, name) in old.0.into_iter().filter(|(_, name)| !names.contains(&name.as_str())) {
        let file = folder.join(&name);
        match contents(&file) {
            Ok(Some(bytes)) if sha256(&bytes) != hash => {}
            Ok(Some(_)) if earlier == Earlier::Remove => {
                fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Ok(None) => {}
            _ => _ = kept.0.insert((hash, name)),
        }
    }
    put(LIST, kept.text().as_bytes())?;
    publish(LIST)?;
    Ok(written)
}

/// Treatment of a single file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing is an error.
    Stays,
    /// It is replaced: the caller knows it for its own.
    IsReplaced,
}

/// Writes a single file of the user's choice by `put`: complete, or not at all.
///
/// # Errors
/// A file is there that stays, or it cannot be written; nothing was changed then.
pub fn write_file(
    file: &Path,
    existing: Existing,
    put: impl FnOnce(&fs::File) -> io::Result<()>,
) -> Result<()> {
    let write = || -> io::Result<()> {
        let new = tempfile::Builder::new().prefix(".apf-").tempfile_in(folder_of(file))?;
        put(new.as_file())?;
        let placed = match existing {
            Existing::Stays => new.persist_noclobber(file),
            Existing::IsReplaced => new.persist(file),
        };
        placed.map(drop).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Returns the folder that `file` is in.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Finds out early whether [`write`] would replace a file of the user's.
pub fn check(folder: &Path, names: &[&str]) -> Result<()> {
    let list = List::read(folder);
    names.iter().try_for_each(|name| list.permits(folder, name, None))
}

/// Makes a folder in which this program may replace and remove any file.
///
/// # Errors
/// It has files of the user's, or cannot be made.
pub fn own_folder(folder: &Path) -> Result<()> {
    let own = || -> io::Result<bool> {
        fs::create_dir_all(folder)?;
        let mine =
            folder.join(LIST).is_file() || folder.canonicalize()?.starts_with(dirs::apf().canonicalize()?);
        if !mine && fs::read_dir(folder)?.next().is_some() {
            return Ok(false);
        }
        fs::OpenOptions::new().create(true).append(true).open(folder.join(LIST)).map(|_| true)
    };
    match own().with_context(|| format!("cannot make the folder {}", folder.display()))? {
        true => Ok(()),
        false => bail!(
            "{} has files that this program did not make; move them away, or choose another folder with --out",
            folder.display()
        ),
    }
}

/// The SHA-256 of some bytes, as sha256sum prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes and names of files.
struct List(BTreeSet<(String, String)>);

/// Returns true for the folders that verbs use without `--out`: an earlier version of this
/// program, which kept no list, may have written there.
fn is_default(folder: &Path) -> bool {
    let own = ["experiments", "image", "check"].map(|name| dirs::apf().join(name).canonicalize());
    let folder = folder.canonicalize();
    folder.is_ok_and(|folder| own.into_iter().flatten().any(|own| folder.starts_with(own)))
}

impl List {
    /// The list in a folder, empty if there is none.
    fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(LIST)).unwrap_or_default();
        let entries = text.lines().filter_map(|line| line.split_once("  "));
        // A list that somebody else made must not lead out of the folder.
        let inside = entries.filter(|(_, name)| Path::new(name).file_name().is_some_and(|it| it == *name));
        Self(inside.map(|(hash, name)| (hash.to_owned(), name.to_owned())).collect())
    }

    fn text(&self) -> String {
        self.0.iter().map(|(hash, name)| format!("{hash}  {name}\n")).collect()
    }

    /// Checks that a file is absent, made by this program, or already what is to be written.
    fn permits(&self, folder: &Path, name: &str, new: Option<&[u8]>) -> Result<()> {
        let file = folder.join(name);
        match contents(&file) {
            Ok(None) => Ok(()),
            Ok(Some(old)) if new == Some(old.as_slice()) || self.0.contains(&(sha256(&old), name.into())) => {
                Ok(())
            }
            Ok(Some(_)) if is_default(folder) => Ok(()),
            Ok(Some(_)) => bail!(
                "{} is in the way: this program did not make it, or it was changed since; \
                 move it away, or choose another folder with --out",
                file.display()
            ),
            Err(error) => Err(error).with_context(|| format!("cannot replace {}", file.display())),
        }
    }
}

/// Contents of a file, `None` where nothing is.
fn contents(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(file) {
        Ok(about) if about.is_file() => fs::read(file).map(Some),
        Ok(_) => Err(io::Error::other("it is no regular file")),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        (name.into(), text.into())
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    /// Names in a folder, without the list.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.filter(|name| name != LIST).collect();
        names.sort();
        names
    }

    #[test]
    fn output_replaces_its_own_files_and_no_others() {
        let scratch = dirs::scratch("output-own").unwrap();
        let folder = scratch.path().join("new/folder");
        write(&folder, &[file("a", "1"), file("b", "1")], Earlier::Keep).unwrap();
        write(&folder, &[file("a", "2")], Earlier::Keep).unwrap();
        assert_eq!((read(&folder, "a"), read(&folder, "b")), ("2".into(), "1".into()));
        // Still known after a call that wrote another.
        write(&folder, &[file("b", "2")], Earlier::Keep).unwrap();
        fs::write(folder.join("mine"), "user's").unwrap();
        fs::write(folder.join("b"), "edited").unwrap();
        for name in ["mine", "b"] {
            let before = read(&folder, name);
            let error = write(&folder, &[file("a", "3"), file(name, "3")], Earlier::Remove).unwrap_err();
            assert!(error.to_string().contains(&format!("{name} is in the way")), "{error}");
            assert!(check(&folder, &["a", name]).is_err() && check(&folder, &["a"]).is_ok());
            assert_eq!((read(&folder, name), read(&folder, "a")), (before, "2".into()));
        }
        // Nothing is lost where the contents are the same.
        write(&folder, &[file("mine", "user's")], Earlier::Keep).unwrap();
        assert_eq!(names(&folder), ["a", "b", "mine"]);
    }

    #[test]
    fn output_removes_earlier_files_of_its_own_only() {
        let scratch = dirs::scratch("output-earlier").unwrap();
        let folder = scratch.path();
        write(folder, &[file("1.svg", "x"), file("2.svg", "x"), file("3.svg", "x")], Earlier::Remove)
            .unwrap();
        fs::write(folder.join("mine.svg"), "user's").unwrap();
        fs::write(folder.join("2.svg"), "edited").unwrap();
        write(folder, &[file("1.svg", "y")], Earlier::Remove).unwrap();
        assert_eq!(names(folder), ["1.svg", "2.svg", "mine.svg"]);
        assert!(write(folder, &[file("2.svg", "y")], Earlier::Remove).is_err());
    }

    #[test]
    fn output_does_not_follow_links_or_lists_out_of_its_folder() {
        let scratch = dirs::scratch("output-links").unwrap();
        let (folder, outside) = (scratch.path().join("in"), scratch.path().join("outside"));
        fs::create_dir(&folder).unwrap();
        fs::write(&outside, "user's").unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("a")).unwrap();
        fs::create_dir(folder.join("b")).unwrap();
        for name in ["a", "b"] {
            let error = write(&folder, &[file(name, "1")], Earlier::Keep).unwrap_err();
            assert!(format!("{error:#}").contains("no regular file"), "{error:#}");
        }
        fs::write(folder.join(LIST), format!("{}  ../outside\n", sha256(b"user's"))).unwrap();
        write(&folder, &[file("c", "1")], Earlier::Remove).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "user's");
    }

    #[test]
    fn output_that_cannot_be_written_is_named_and_leaves_nothing() {
        let scratch = dirs::scratch("output-refused").unwrap();
        let long = "x".repeat(300);
        let error = write(scratch.path(), &[file("a", "1"), file(&long, "1")], Earlier::Keep).unwrap_err();
        assert!(format!("{error:#}").contains(&long), "{error:#}");
        assert_eq!(names(scratch.path()), [""; 0]);
        let error = write(Path::new("/proc/nothing"), &[file("a", "1")], Earlier::Keep).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot make the folder /proc/nothing: "), "{error:#}");
    }

    #[test]
    fn a_folder_with_files_of_the_users_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        own_folder(&folder).unwrap();
        fs::write(folder.join("log"), "1").unwrap();
        own_folder(&folder).unwrap();
        fs::remove_file(folder.join(LIST)).unwrap();
        let error = own_folder(&folder).unwrap_err();
        assert!(error.to_string().contains("did not make"), "{error}");
    }

    #[test]
    fn a_hash_is_the_one_that_sha256sum_prints() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), of_abc);
    }
}
