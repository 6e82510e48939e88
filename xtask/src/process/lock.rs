//! One process at a time in a checkout: all write to the same folders below `target/apf`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result, bail};

use super::command::shell_word;

/// The right to write below `target/apf`, until dropped.
#[derive(Debug)]
pub struct Lock {
    /// The kernel lifts the lock when it is closed, also when this process dies.
    _file: File,
}

impl Lock {
    /// Takes the file `path` for this process. While another one has it, waits, and tells `say` for
    /// whom.
    pub fn take(path: &Path, say: impl FnOnce(&str)) -> Result<Self> {
        let problem = || format!("cannot lock {}", path.display());
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .with_context(problem)?;
        if file.try_lock().is_err() {
            let owner = fs::read_to_string(path).unwrap_or_default();
            let owner = if owner.is_empty() { "another cargo xtask" } else { owner.trim_end() };
            say(&format!("waiting for {owner}, which works in this checkout"));
            file.lock().with_context(problem)?;
        }
        file.set_len(0)?;
        writeln!(file, "{}", this_process()).with_context(problem)?;
        Ok(Self { _file: file })
    }
}

fn this_process() -> String {
    let words: Vec<String> = env::args().skip(1).map(|word| shell_word(&word)).collect();
    format!("process {} (cargo xtask {})", process::id(), words.join(" "))
}

/// Checks that this program, built in the checkout `built_in`, is not used in another one: a copied
/// build folder would work on the original.
pub fn check_place(built_in: &Path, program: &Path, here: &Path) -> Result<()> {
    let used_in = checkout_of(program).or_else(|| checkout_of(here));
    let same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
    match used_in {
        Some(used_in) if !same(&used_in, built_in) => bail!(
            "this program was built in {} and would work there, not in {}: start it there by `cargo xtask`, \
             which builds it anew",
            built_in.display(),
            used_in.display()
        ),
        _ => Ok(()),
    }
}

fn checkout_of(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|folder| folder.join("xtask/src/dirs.rs").is_file()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::dirs;

    #[test]
    fn the_second_process_waits_and_says_for_whom() {
        let scratch = dirs::scratch("lock-test").unwrap();
        let path = scratch.path().join("lock");
        let first = Lock::take(&path, |said| panic!("{said}")).unwrap();
        let (sender, said) = mpsc::channel();
        let second = thread::spawn({
            let path = path.clone();
            move || Lock::take(&path, |line| sender.send(line.to_owned()).unwrap()).map(|_| ())
        });
        let line = said.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(line.contains(&format!("process {} (cargo xtask", process::id())), "{line}");
        assert!(!second.is_finished(), "the first has it still");
        drop(first);
        second.join().unwrap().unwrap();
        Lock::take(&path, |said| panic!("{said}")).unwrap();
    }

    #[test]
    fn a_copied_build_folder_is_noticed() {
        let scratch = dirs::scratch("place-test").unwrap();
        let checkout = |name: &str| {
            let root = scratch.path().join(name);
            fs::create_dir_all(root.join("xtask/src")).unwrap();
            fs::write(root.join("xtask/src/dirs.rs"), "").unwrap();
            root
        };
        let (one, other) = (checkout("one"), checkout("other"));
        let program = |root: &Path| root.join("target/debug/xtask");
        check_place(&one, &program(&one), &other).unwrap();
        check_place(&one, Path::new("/elsewhere/xtask"), &one.join("xtask")).unwrap();
        check_place(&one, Path::new("/elsewhere/xtask"), Path::new("/")).unwrap();
        for (program, here) in [(program(&other), &one), ("/elsewhere/xtask".into(), &other)] {
            let error = check_place(&one, &program, here).unwrap_err().to_string();
            assert!(
                error.contains("/one and would work there, not in") && error.contains("/other"),
                "{error}"
            );
        }
        let error = check_place(Path::new("/gone"), &program(&one), &one).unwrap_err().to_string();
        assert!(error.contains("built in /gone"), "a checkout that was moved: {error}");
    }
}
