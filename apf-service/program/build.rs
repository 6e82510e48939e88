//! Links the Hermit kernel archive into programs for the Hermit target, so that
//! a program needs no build script of its own.

use std::env;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "HERMIT_KERNEL_DIR";
const ARCHIVE: &str = "libhermit.a";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("hermit") {
        return;
    }
    match find_archive() {
        Ok(folder) => {
            println!("cargo::rustc-link-search=native={}", folder.display());
            println!("cargo::rustc-link-lib=static=hermit");
            println!("cargo::rerun-if-changed={}", folder.join(ARCHIVE).display());
        }
        Err(error) => println!("cargo::error={error}"),
    }
}

/// Finds the folder that holds the archive.
fn find_archive() -> Result<PathBuf, String> {
    let hint = "`cargo xtask build` makes it in target/apf/kernel/lib, and with `--for-projects` the one that \
                projects of `cargo xtask new` name";
    let value = env::var(VARIABLE)
        .map_err(|_| format!("{VARIABLE} is not set: set it to the folder of {ARCHIVE}; {hint}"))?;
    // Cargo runs this in the package's folder, which is not where the user is.
    let shell = env::var("PWD").unwrap_or_default();
    let bases =
        Path::new(&shell).ancestors().take(1).chain(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors());
    // An absolute path stays as it is.
    bases.map(|base| base.join(&value)).find(|folder| folder.join(ARCHIVE).is_file()).ok_or_else(|| {
        format!(
            "no {ARCHIVE} in {VARIABLE}={value}: name the folder by an absolute path, or relative to the \
             current folder or the workspace; {hint}"
        )
    })
}
