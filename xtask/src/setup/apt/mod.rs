//! Debian packages: installed as root, otherwise listed in a command for the user; or only
//! downloaded and unpacked.
//!
//! - [`sources`]: the sources that apt downloads packages from

mod sources;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};

use crate::dirs;
use crate::process::Cmd;
use crate::process::command::{shell_quote, shell_word};
use crate::versions::{Packages, VERSIONS};
use sources::Source;

/// Limits, so that a mirror that does not answer costs seconds instead of minutes.
const OPTIONS: [&str; 8] = [
    "-o",
    "Acquire::Retries=1",
    "-o",
    "Acquire::http::Timeout=20",
    "-o",
    "Acquire::https::Timeout=20",
    "-o",
    "DPkg::Lock::Timeout=300",
];

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

/// Downloads packages into `scratch` and unpacks them into a folder there.
pub fn unpack(packages: &[&str], scratch: &Path) -> Result<PathBuf> {
    let root = scratch.join("root");
    for package in download(packages, scratch)? {
        Cmd::new("dpkg-deb")
            .arg("-x")
            .arg(package)
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

fn download(packages: &[&str], dir: &Path) -> Result<Vec<PathBuf>> {
    open_to_apt(dir);
    let words: Vec<String> = ["download"].iter().chain(packages).map(|&word| word.to_owned()).collect();
    let fetch = || apt_get(&words).cwd(dir).doing("downloading").logged(&dirs::log("apt-download")?);
    if let Err(error) = fetch() {
        // apt's lists may name a version that the mirror has replaced.
        refresh_lists().context(format!("{error:#}"))?;
        fetch()?;
    }
    let files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

/// Gives `folder` to the user that apt downloads as, its sandbox, if there is one. apt says itself
/// when it downloads without.
fn open_to_apt(folder: &Path) {
    if let (true, Ok(Some(user))) = (geteuid().is_root(), User::from_name("_apt")) {
        let _ = chown(folder, Some(user.uid.as_raw()), None);
    }
}

/// Returns names and versions of the packages that were downloaded into `scratch`.
pub fn versions(scratch: &Path) -> Result<Vec<(String, String)>> {
    let files = fs::read_dir(scratch)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = files.collect::<Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name_and_version(name)).collect())
}

/// Reads `busybox-static_1%3a1.35.0-4_amd64.deb`.
fn name_and_version(file: &str) -> Option<(String, String)> {
    let (name, rest) = file.strip_suffix(".deb")?.split_once('_')?;
    Some((name.to_owned(), rest.rsplit_once('_')?.0.replace("%3a", ":")))
}

/// Downloads the upstream archive of a source package in Debian's suite `suite` into
/// `scratch`; apt verifies it. The system's own package lists are not changed.
pub fn upstream_source(package: &str, suite: &str, scratch: &Path) -> Result<PathBuf> {
    let (list, lists) = (scratch.join("sources.list"), scratch.join("lists"));
    fs::create_dir_all(lists.join("partial"))?;
    open_to_apt(scratch);
    fs::write(&list, format!("{}\n", sources::of_source_packages(suite)?))?;
    let options = [
        "Dir::Etc::SourceParts=/dev/null".into(),
        format!("Dir::Etc::SourceList={}", list.display()),
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Cache={}", scratch.display()),
    ];
    let options: Vec<String> = options.into_iter().flat_map(|option| ["-o".into(), option]).collect();
    let apt = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        apt_get(&[&options[..], &words].concat())
            .cwd(scratch)
            .doing(format!("downloading {package}'s source"))
    };
    apt(&["update"]).logged(&dirs::log("apt-update-source")?)?;
    apt(&["source", "--download-only", "--tar-only", package]).logged(&dirs::log("apt-source")?)?;
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

/// Finds the kernel package that a meta package depends on.
pub fn concrete_kernel(meta: &str) -> Result<String> {
    let ask = || -> Result<Option<String>> {
        let text = Cmd::new("apt-cache").args(["depends", "--important", meta]).quiet().output()?.stdout;
        Ok(first_kernel(&text))
    };
    if let Some(name) = ask()? {
        return Ok(name);
    }
    refresh_lists()?;
    ask()?.with_context(|| format!("apt knows no package {meta}"))
}

fn first_kernel(depends: &str) -> Option<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn refresh_lists() -> Result<()> {
    if !geteuid().is_root() {
        bail!("apt's package lists are missing or out of date; please type: sudo apt-get update");
    }
    let trouble = update()?;
    if !trouble.is_empty() {
        println!("  note     {trouble}");
    }
    Ok(())
}

/// Runs `apt-get update`. Returns a note on mirrors that were not reached, or nothing. A
/// missing mirror is no error: it may have none of the packages, and if it has, the
/// installation fails with this note.
fn update() -> Result<String> {
    let log = dirs::log("apt-update")?;
    let result = apt_get(&["update".to_owned()]).doing("reading package lists").logged(&log);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let unreached = unreached(&text);
    match result {
        Err(error) if unreached.is_empty() => Err(error),
        _ if unreached.is_empty() => Ok(String::new()),
        _ => Ok(format!("no answer from the package mirror {}", unreached.join(", "))),
    }
}

/// Lists the mirrors in apt's `Failed to fetch` lines.
fn unreached(log: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("Failed to fetch ") else { continue };
        let address = rest.split_whitespace().next().unwrap_or_default();
        let mirror = address.split('/').take(3).collect::<Vec<_>>().join("/");
        if !found.contains(&mirror) {
            found.push(mirror);
        }
    }
    found
}

fn apt_get(words: &[String]) -> Cmd {
    Cmd::new("apt-get")
        .args(OPTIONS)
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .timeout(Duration::from_secs(30 * 60))
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
        let read = |file| name_and_version(file).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(
            read("busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb").as_deref(),
            Some("busybox-static 1:1.35.0-4+deb12u1+b1")
        );
        assert_eq!(read("root"), None);
    }

    #[test]
    fn mirrors_that_do_not_answer_are_named_once() {
        let log = "Err:1 http://a x\nW: Failed to fetch http://a/x/y  Timeout\nE: Failed to fetch http://a/z  Timeout\n";
        assert_eq!(unreached(log), ["http://a"]);
    }

    #[test]
    fn the_concrete_kernel_is_the_meta_packages_dependency() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(first_kernel(text).as_deref(), Some("linux-image-6.1.0-56-amd64"));
    }
}
