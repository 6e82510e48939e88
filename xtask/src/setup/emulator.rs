//! The lab's emulator: QEMU, built from Debian's source with the repairs in
//! `images/lab/qemu`; `docs/lab.md` has the reason for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{apt, qemu::Qemu};
use crate::dirs;
use crate::output;
use crate::patches;
use crate::process::Cmd;
use crate::versions::{LabQemu, Packages, VERSIONS};

/// The devices that it is built with.
const DEVICES: &str = include_str!("../../../images/lab/qemu/devices.mak");
/// Options: one target, one accelerator, one kind of share. The Python is Debian's, because
/// the build needs Debian's Python packages.
const CONFIGURE: [&str; 14] = [
    "--python=/usr/bin/python3",
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--without-default-devices",
    "--with-devices-x86_64=lab",
    "--enable-tcg",
    "--enable-virtfs",
    "--enable-attr",
    "--enable-plugins",
    "--disable-tools",
    "--disable-install-blobs",
    "--disable-debug-info",
    "--disable-download",
    "--firmwarepath=/usr/share/qemu:/usr/share/seabios",
];
const PROGRAM: &str = "qemu-system-x86_64";
/// The plugin that counts how often each block of code runs
/// (docs/about/emulation.rst in QEMU's source, "Hot Blocks").
const COUNTER: &str = "libhotblocks.so";
/// The build takes two minutes on two processors.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The lab's QEMU.
#[derive(Clone, Debug)]
pub struct Emulator {
    pub qemu: Qemu,
    /// Its plugin that counts the executions of each block of code.
    pub counter: PathBuf,
}

fn folder() -> PathBuf {
    dirs::apf().join("lab/emulator")
}

fn repairs() -> Result<Vec<PathBuf>> {
    patches::series(&dirs::root().join("images/lab/qemu"))
}

/// Returns all inputs of the build: a change of any of them causes a rebuild.
fn stamp() -> Result<String> {
    let repairs = repairs()?
        .iter()
        .map(|repair| fs::read_to_string(repair).with_context(|| format!("cannot read {}", repair.display())))
        .collect::<Result<Vec<_>>>()?
        .join("\n");
    let LabQemu { suite, version, sha256 } = &VERSIONS.lab.qemu;
    Ok([&[repairs.as_str(), DEVICES], &CONFIGURE[..], &[suite, version, sha256]].concat().join("\n"))
}

/// Returns whether it is built, from the present inputs.
pub fn is_built() -> bool {
    let folder = folder();
    [PROGRAM, COUNTER].iter().all(|name| folder.join(name).is_file())
        && fs::read_to_string(folder.join("stamp"))
            .is_ok_and(|old| stamp().is_ok_and(|current| old == current))
}

/// Lists the packages that building it needs, unless it is built or they are installed.
pub fn missing_packages() -> Vec<&'static Packages> {
    if is_built() {
        return Vec::new();
    }
    let debian = &VERSIONS.debian;
    let lists = [&debian.emulator, &debian.emulator_backports];
    lists.into_iter().filter(|packages| apt::any_missing(packages)).collect()
}

/// Finds or builds it.
pub fn ensure() -> Result<Emulator> {
    if !is_built() {
        build().context("the lab's emulator cannot be built")?;
    }
    Ok(Emulator { qemu: Qemu::at(folder().join(PROGRAM))?, counter: folder().join(COUNTER) })
}

fn build() -> Result<()> {
    let suite = &VERSIONS.lab.qemu.suite;
    println!(
        "  build    the lab's emulator: QEMU from Debian {suite}'s source, with repairs; about 3 minutes"
    );
    let scratch = dirs::scratch("emulator")?;
    let archive = apt::upstream_source("qemu", suite, scratch.path())?;
    check(&archive, &VERSIONS.lab.qemu)?;
    let source = unpack(&archive, scratch.path())?;
    patches::apply(&repairs()?, &source)?;
    fs::write(source.join("configs/devices/x86_64-softmmu/lab.mak"), DEVICES)?;
    let build = source.join("build");
    fs::create_dir_all(&build)?;
    Cmd::new("../configure")
        .args(CONFIGURE)
        .cwd(&build)
        .doing("configuring QEMU")
        .timeout(BUILD_LIMIT)
        .logged(&dirs::log("emulator-configure")?)?;
    let counter = format!("contrib/plugins/{COUNTER}");
    Cmd::new("ninja")
        .args([PROGRAM, &counter])
        .cwd(&build)
        .doing("building QEMU")
        .timeout(BUILD_LIMIT)
        .logged(&dirs::log("emulator-build")?)?;
    let new = scratch.path().join("emulator");
    fs::create_dir(&new)?;
    fs::copy(build.join(PROGRAM), new.join(PROGRAM)).context("the build produced no program")?;
    fs::copy(build.join(counter), new.join(COUNTER)).context("the build produced no plugin")?;
    fs::write(new.join("stamp"), stamp()?)?;
    apt::move_into_place(&new, &folder())
}

/// Checks that the archive is the one that the repairs are made for.
fn check(archive: &Path, pinned: &LabQemu) -> Result<()> {
    let LabQemu { suite, version, sha256 } = pinned;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let found =
        name.strip_prefix("qemu_").and_then(|name| Some(name.split_once(".orig.tar")?.0)).unwrap_or(&name);
    let contents = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let digest = output::sha256(&contents);
    ensure!(
        found == version && digest == *sha256,
        "Debian {suite} has QEMU {found}, and the lab's emulator is made of {version}. To use Debian's, change \
         [lab.qemu] in images/versions.toml to version = \"{found}\" and sha256 = \"{digest}\", and run the tests; \
         a repair in images/lab/qemu that does not apply has to be adapted"
    );
    Ok(())
}

/// Unpacks an archive that holds one folder, and returns that folder.
fn unpack(archive: &Path, scratch: &Path) -> Result<PathBuf> {
    let into = scratch.join("source");
    fs::create_dir(&into)?;
    Cmd::new("tar")
        .args(["--extract", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(&into)
        .doing("unpacking QEMU's source")
        .logged(&dirs::log("unpack")?)?;
    let mut folders = fs::read_dir(&into)?.filter_map(|entry| Some(entry.ok()?.path()));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder),
        _ => bail!("{} does not hold exactly one folder", archive.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_is_not_the_pinned_one_is_refused_with_the_keys_to_change() {
        let scratch = dirs::scratch("emulator-test").unwrap();
        let archive = scratch.path().join("qemu_10.0.14+ds.orig.tar.xz");
        fs::write(&archive, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        let pinned = |version: &str, sha256: &str| LabQemu {
            suite: "trixie".into(),
            version: version.into(),
            sha256: sha256.into(),
        };
        check(&archive, &pinned("10.0.14+ds", &sha256)).unwrap();
        for pinned in [pinned("10.0.13+ds", &sha256), pinned("10.0.14+ds", "0")] {
            let error = check(&archive, &pinned).unwrap_err().to_string();
            for word in ["images/versions.toml", "version = \"10.0.14+ds\"", &sha256] {
                assert!(error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn each_repair_has_a_title_and_a_patch() {
        for repair in repairs().unwrap() {
            let repair = fs::read_to_string(repair).unwrap();
            let title = repair.lines().next().unwrap();
            assert!(title.ends_with(['.', ':']) || title.contains(": "), "{title}");
            assert!(repair.contains("\n--- a/") && repair.contains("\n+++ b/"), "{title}");
        }
    }
}
