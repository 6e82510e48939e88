//! Debian packages: installed as root, otherwise listed in a command for the user; or only
//! downloaded and unpacked.
//!
//! - [`sources`]: the sources that apt downloads packages from
//! - [`call`]: calls of apt
//! - [`lists`]: the lists in which it finds them

mod call;
pub mod lists;
mod sources;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::dirs;
use crate::process::Cmd;
use crate::process::command::{shell_quote, shell_word};
use crate::versions::{Packages, VERSIONS};
use call::{apt_get, update};
use lists::{Kind, Lists};
use sources::Source;

/// Packages to be installed, with the reason.
pub struct Want {
    pub packages: &'static Packages,
    /// The upstream version, if only that one can be used.
    pub version: Option<&'static str>,
    pub why: String,
}

impl Want {
    fn arguments(&self) -> Vec<String> {
        let names = self.packages.packages.iter();
        match self.version {
            None => names.cloned().collect(),
            Some(version) => names.map(|name| format!("{name}={version}*")).collect(),
        }
    }

    fn is_backport(&self) -> bool {
        self.packages.suite.ends_with("-backports")
    }
}

/// Returns whether this machine has apt and Debian's packages.
pub fn on_debian() -> bool {
    os_release("ID").as_deref() == Some("debian") && which::which("apt-get").is_ok()
}

/// Returns whether it is the Debian release whose packages `images/versions.toml` names.
pub fn on_our_debian() -> bool {
    on_debian() && os_release("VERSION_CODENAME").as_ref() == Some(&VERSIONS.debian.codename)
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// Installs packages.
///
/// # Errors
/// The system is not this Debian, the user is not root, or apt fails; the message says what
/// to do.
pub fn install(wants: &[Want]) -> Result<()> {
    for want in wants {
        println!("  install  {}: {}", want.packages.packages.join(" "), want.why);
    }
    if !on_our_debian() {
        bail!(by_hand());
    }
    let backport = wants.iter().find(|want| want.is_backport()).map(|want| want.packages);
    let source = match backport {
        Some(Packages { suite, packages }) => sources::missing(suite, &packages[0])?,
        None => None,
    };
    if !geteuid().is_root() {
        bail!(
            "packages are missing and only root can install them; please type:\n\n{}\n",
            one_line(wants, source.as_ref())
        );
    }
    if let Some(Source { file, line }) = &source {
        println!("  add      {}: {line}", file.display());
        fs::write(file, format!("{line}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let update = update()?;
    for command in commands(wants) {
        apt_get(&command).doing("installing packages").logged(&dirs::log("apt-install")?).map_err(
            |error| {
                // The cause is often in the step before: a mirror that was not reached.
                if update.is_empty() { error } else { error.context(update.clone()) }
            },
        )?;
    }
    Ok(())
}

/// Lists the software that a user of another system installs by hand.
fn by_hand() -> String {
    format!(
        "the packages are known for Debian {} only and this is {}, so please install by hand: rustup with Rust {} and \
         its component rust-src; GNU binutils and patch; lld; QEMU (qemu-system-x86_64)",
        VERSIONS.debian.codename,
        os_release("PRETTY_NAME").unwrap_or_else(|| "an unknown system".into()),
        VERSIONS.rust.guest,
    )
}

/// Unpacks packages into a folder in `scratch`.
pub fn unpack(files: &[PathBuf], scratch: &Path) -> Result<PathBuf> {
    let root = scratch.join("root");
    for file in files {
        Cmd::new("dpkg-deb")
            .arg("-x")
            .arg(file)
            .arg(&root)
            .doing("unpacking")
            .logged(&dirs::log("unpack")?)?;
    }
    Ok(root)
}

/// Renames the unpacked folder `new` to `root`, which is complete or absent, even when
/// interrupted.
pub fn move_into_place(new: &Path, root: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(root);
    fs::create_dir_all(root.parent().context("no parent folder")?)?;
    fs::rename(new, root).with_context(|| format!("cannot move {} into place", new.display()))
}

/// Reads name and version from a package's file name: `busybox-static_1%3a1.35.0-4_amd64.deb`.
pub fn name_and_version(file: &Path) -> Option<(String, String)> {
    let (name, rest) = file.file_name()?.to_str()?.strip_suffix(".deb")?.split_once('_')?;
    Some((name.to_owned(), rest.rsplit_once('_')?.0.replace("%3a", ":")))
}

/// Downloads the upstream archive of a source package in Debian's suite `suite` into
/// `scratch`; apt verifies it.
pub fn upstream_source(package: &str, suite: &str, scratch: &Path) -> Result<PathBuf> {
    let lists = Lists::of(suite, Kind::Source, scratch)?;
    lists
        .apt_get(&["source", "--download-only", "--tar-only", package])
        .cwd(scratch)
        .doing(format!("downloading {package}'s source"))
        .logged(&dirs::log("apt-source")?)?;
    let files = fs::read_dir(scratch)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut archives = files.filter(|path| path.to_string_lossy().contains(".orig.tar."));
    archives.next().with_context(|| format!("Debian {suite} has no upstream archive of {package}"))
}

/// Returns whether any of these packages is not installed.
pub fn any_missing(packages: &Packages) -> bool {
    let installed = |name: &String| {
        let query = Cmd::new("dpkg-query").args(["-W", "-f=${Status}"]).arg(name).quiet().output();
        query.is_ok_and(|output| output.stdout.ends_with(" installed"))
    };
    !packages.packages.iter().all(installed)
}

/// Returns the arguments of `apt-get`, one command per target release.
fn commands(wants: &[Want]) -> Vec<Vec<String>> {
    let install = |wants: Vec<&Want>, release: &[&str]| -> Option<Vec<String>> {
        let words =
            ["install", "-y", "--no-install-recommends"].iter().chain(release).map(|&word| word.to_owned());
        let names: Vec<String> = wants.iter().flat_map(|want| want.arguments()).collect();
        (!names.is_empty()).then(|| words.chain(names).collect())
    };
    let (backports, plain): (Vec<&Want>, Vec<&Want>) = wants.iter().partition(|want| want.is_backport());
    // `-t` for these packages only: it would raise the versions of others.
    let suite = backports.first().map(|want| want.packages.suite.as_str()).unwrap_or_default();
    [install(plain, &[]), install(backports, &["-t", suite])].into_iter().flatten().collect()
}

/// Returns the whole installation as one command for a user without root rights.
fn one_line(wants: &[Want], source: Option<&Source>) -> String {
    let mut script = String::new();
    if let Some(Source { file, line }) = source {
        let _ = write!(script, "echo {} > {} && ", shell_double(line), file.display());
    }
    script += "apt-get update; ";
    let commands = commands(wants).into_iter().map(|words| {
        let words: Vec<String> = words.iter().map(|word| word.replace('*', "\\*")).collect();
        format!("DEBIAN_FRONTEND=noninteractive apt-get {}", words.join(" "))
    });
    script += &commands.collect::<Vec<_>>().join(" && ");
    format!("{} {} {}", shell_word("sudo"), "sh -c", shell_quote(&script))
}

/// Puts a word in double quotes, for use inside single quotes.
fn shell_double(word: &str) -> String {
    format!("\"{}\"", word.replace(['"', '$', '`', '\\'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants() -> [Want; 2] {
        let debian = &VERSIONS.debian;
        [
            Want { packages: &debian.qemu, version: None, why: String::new() },
            Want { packages: &debian.toolchain, version: Some("1.96.0"), why: String::new() },
        ]
    }

    #[test]
    fn only_the_backport_is_installed_from_backports() {
        let commands = commands(&wants()).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
        assert_eq!(
            commands,
            [
                "install -y --no-install-recommends rustc-web=1.96.0* cargo-web=1.96.0* rust-web-src=1.96.0* \
                 rust-web-llvm=1.96.0*",
                "install -y --no-install-recommends -t bookworm-backports qemu-system-x86",
            ]
        );
    }

    #[test]
    fn the_users_command_is_one_line_that_a_shell_parses() {
        let source = Source { file: "/tmp/x.list".into(), line: "deb http://mirror/debian s main".into() };
        let line = one_line(&wants(), Some(&source));
        assert!(line.starts_with("sudo sh -c '") && line.ends_with('\'') && !line.contains('\n'), "{line}");
        let parsed = Cmd::new("sh").args(["-nc", &line]).quiet().output().unwrap();
        assert!(parsed.status.success(), "{}", parsed.stderr);
    }

    #[test]
    fn a_packages_file_has_its_name_and_version() {
        let read =
            |file| name_and_version(Path::new(file)).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(
            read("busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb").as_deref(),
            Some("busybox-static 1:1.35.0-4+deb12u1+b1")
        );
        assert_eq!(read("root"), None);
    }
}
