//! The Hermit kernel archive.
//!
//! Pristine source from the crate registry → patched tree → staticlib → one
//! object with all code in one section and only the interface left global →
//! `libhermit.a`. The recipe is in `images/kernel`, and `images/kernel/README.md`
//! explains how to change a patch.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use images::kernel;

use super::guest;
use crate::dirs;
use crate::patches;
use crate::process::{Cmd, build_cargo, command};
use crate::setup::{BuildTools, Tools};

const TARGET: &str = "x86_64-unknown-none";
/// Number of build fixes: patches that every other one needs to compile. They come first.
const BUILD_FIXES: usize = 3;

/// A feature of [`kernel::MORE_FEATURES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature(&'static str);

impl Feature {
    /// Returns all of them.
    pub fn all() -> Vec<Self> {
        kernel::MORE_FEATURES.map(Self).into()
    }
}

impl FromStr for Feature {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if kernel::FEATURES.contains(&name) {
            return Err(format!("every archive has `{name}`"));
        }
        kernel::MORE_FEATURES
            .into_iter()
            .find(|known| *known == name)
            .map(Self)
            .ok_or_else(|| format!("archives can have {}", kernel::MORE_FEATURES.join(", ")))
    }
}

/// Builds the archive with `more` features; returns the folder that holds `libhermit.a`, one for each set.
pub fn build(tools: &Tools, more: &[Feature]) -> Result<PathBuf> {
    let base = dirs::sub("kernel")?;
    let tree = base.join("source");
    lay_out(&pristine_source()?, &series()?, &tree)?;
    let more: BTreeSet<_> = more.iter().map(|feature| feature.0).collect();
    let features = more.iter().copied().chain([kernel::SERVICE]);
    let staticlib = compile(tools, &tree, &base.join("build"), features)?;
    let out = base.join(["lib"].into_iter().chain(more).collect::<Vec<_>>().join("-"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    write_if_changed(&base.join("link.ld"), kernel::LINKER_SCRIPT)?;
    if is_newer(&staticlib, &out.join("libhermit.a"))
        || is_newer(&base.join("link.ld"), &out.join("libhermit.a"))
    {
        make_archive(tools.build.get()?, &staticlib, &base, &out)
            .context("the kernel archive cannot be made")?;
    }
    Ok(out)
}

/// Finds the source that cargo has fetched for the workspace's lock file.
fn pristine_source() -> Result<PathBuf> {
    let metadata = build_cargo()
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET])
        .cwd(dirs::root())
        .quiet()
        .doing("fetching the kernel's source")
        .timeout(Duration::from_secs(600))
        .capture()
        .context("the Hermit kernel's source cannot be fetched from the crate registry")?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "hermit-kernel")
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_path_buf))
        .context("hermit-kernel is not among the workspace's packages")
}

/// Returns the kernel's changes.
fn series() -> Result<Vec<PathBuf>> {
    patches::series(&dirs::root().join("images/kernel/patches"))
}

/// Compiles the kernel with the build fixes alone, and then again after each further patch.
///
/// # Errors
/// A patch does not apply or does not compile; the message names it.
pub fn check_prefixes(tools: &Tools) -> Result<()> {
    let (source, series) = (pristine_source()?, series()?);
    // At the depth of the kernel's own folder: the last patch has a relative path to the service.
    let base = dirs::sub("kernel-prefixes")?;
    for count in BUILD_FIXES..=series.len() {
        let last = patches::name(&series[count - 1]);
        lay_out(&source, &series[..count], &base.join("source"))?;
        // The last patch adds the service as a feature that is off by default.
        let features = if count == series.len() { vec![None, Some(kernel::SERVICE)] } else { vec![None] };
        for feature in features {
            let with = feature.map_or(String::new(), |name| format!(" with {name}"));
            compile(tools, &base.join("source"), &base.join("build"), feature)
                .with_context(|| format!("the series up to {last} does not compile{with}"))?;
            println!("compiles up to {last}{with}");
        }
    }
    Ok(())
}

/// Writes the patched tree. Unchanged files keep their times, so that cargo compiles only
/// the others.
fn lay_out(source: &Path, series: &[PathBuf], tree: &Path) -> Result<()> {
    let scratch = dirs::scratch("kernel")?;
    let new = scratch.path();
    mirror(source, new)?;
    patches::apply(series, new)?;
    let write = |name: &str, text: &str| {
        fs::write(new.join(name), text).with_context(|| format!("cannot write {name} of the kernel"))
    };
    write("src/apf.rs", kernel::HOOKS)?;
    // The versions of all crates are the workspace's. cargo removes entries that the kernel
    // does not use from its copy of the lock file, so the original is kept beside it.
    let lock = dirs::root().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    write("Cargo.lock.workspace", &lock)?;
    let is_same = |name: &str| {
        fs::read(tree.join(name)).is_ok_and(|old| fs::read(new.join(name)).is_ok_and(|new| old == new))
    };
    let reduced = fs::read_to_string(tree.join("Cargo.lock"))
        .ok()
        .filter(|_| is_same("Cargo.lock.workspace") && is_same("Cargo.toml"));
    write("Cargo.lock", &reduced.unwrap_or(lock))?;
    mirror(new, tree)
}

/// Makes `to` a copy of `from`, without files for upstream's developers: toolchain, cargo
/// configuration, tests.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    const LEFT_OUT: [&str; 4] = ["rust-toolchain.toml", ".cargo", "tests", "Cargo.toml.orig"];
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(to).with_context(|| format!("cannot read {}", to.display()))? {
        let path = entry?.path();
        if !from.join(path.file_name().unwrap_or_default()).exists() {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if LEFT_OUT.iter().any(|&left_out| name == left_out) {
            continue;
        }
        if path.is_dir() {
            mirror(&path, &to.join(name))?;
        } else {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write_if_changed(&to.join(name), text)?;
        }
    }
    Ok(())
}

fn compile<'a>(
    tools: &Tools,
    tree: &Path,
    target_dir: &Path,
    more: impl IntoIterator<Item = &'a str>,
) -> Result<PathBuf> {
    let features: Vec<_> = kernel::FEATURES.into_iter().chain(more).collect();
    guest::cargo(tools.toolchain.get()?)
        .args(["rustc", "--release", "--lib", "--crate-type", "staticlib", "--target", TARGET])
        .args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"])
        .args(["--no-default-features", "--features", &features.join(","), "--target-dir"])
        .arg(target_dir)
        .cwd(tree)
        .quiet()
        .doing("building the Hermit kernel")
        .logged(&dirs::log("kernel-build")?)
        .context("the Hermit kernel cannot be built")?;
    command::must_exist(target_dir.join(TARGET).join("release/libhermit.a"), "the kernel's static library")
}

fn make_archive(build: &BuildTools, staticlib: &Path, base: &Path, out: &Path) -> Result<()> {
    let run = |program: &Path| Cmd::new(program).quiet().timeout(Duration::from_secs(120));
    let file = |name: &str| base.join(name);
    let (merged, renamed, object) = (file("merged.o"), file("renamed.o"), file("hermit.o"));
    let (keep, names) = (file("keep.txt"), file("names.txt"));
    let symbols = run(&build.nm).args(["-g", "--defined-only", "-j"]).arg(staticlib).capture()?;
    let defined: BTreeSet<&str> = symbols.lines().collect();
    let exported: Vec<&str> = defined.iter().copied().filter(|symbol| kernel::is_exported(symbol)).collect();
    // Which calls there are depends on the features.
    let entries: Vec<(&str, String)> = exported
        .iter()
        .map(|&call| (call, kernel::entry(call)))
        .filter(|(_, entry)| defined.contains(entry.as_str()))
        .collect();
    run(&build.ld)
        .args(["-r", "--whole-archive", "--gc-sections", "-e", "_start", "-u", "runtime_entry", "-T"])
        .arg(base.join("link.ld"))
        // The interface keeps everything that it uses from being collected.
        .args(exported.iter().flat_map(|symbol| ["-u", symbol]))
        .args(entries.iter().flat_map(|(_, entry)| ["-u", entry]))
        .arg("-o")
        .arg(&merged)
        .arg(staticlib)
        .capture()?;
    if !exported.contains(&"apf_arm") || !exported.contains(&"_start") {
        bail!(
            "the kernel's object lacks its interface: {} symbols, without _start or apf_arm",
            exported.len()
        );
    }
    let write = |path: &Path, text: String| {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let swap = |(call, entry): &(&str, String)| format!("{call} {}{call}\n{entry} {call}\n", kernel::INNER);
    write(&names, entries.iter().map(swap).collect())?;
    run(&build.objcopy)
        .arg(format!("--redefine-syms={}", names.display()))
        .args([&merged, &renamed])
        .capture()?;
    write(&keep, exported.join("\n") + "\n")?;
    run(&build.objcopy)
        .arg(format!("--keep-global-symbols={}", keep.display()))
        .args([&renamed, &object])
        .capture()?;
    check_soft_float(build, &object)?;
    check_entries(build, &object)?;
    // Renamed into place: an interrupted build leaves no partial archive.
    let (new, archive) = (base.join("new.a"), out.join("libhermit.a"));
    let _ = fs::remove_file(&new);
    run(&build.ar).arg("rcsD").args([&new, &object]).capture()?;
    fs::rename(&new, &archive).with_context(|| format!("cannot write {}", archive.display()))
}

/// Checks that the kernel's code uses no FPU registers: in interrupt context they hold the
/// interrupted task's state. The target forbids them; this checks the target.
fn check_soft_float(build: &BuildTools, object: &Path) -> Result<()> {
    let text = objdump(build, &["--disassemble", "--no-show-raw-insn"], object)?;
    match text.lines().find(|line| ["%xmm", "%ymm", "%zmm"].iter().any(|register| line.contains(register))) {
        Some(line) => {
            bail!(
                "the kernel archive uses FPU registers, which interrupt context must not do: {}",
                line.trim()
            )
        }
        None => Ok(()),
    }
}

/// Checks that the entries of the system calls refer to nothing but the kernel's functions of these
/// calls: what else they called would be kernel text, or be taken for application code.
fn check_entries(build: &BuildTools, object: &Path) -> Result<()> {
    let relocations = objdump(build, &["--reloc", "--section=.text.hermit_entries"], object)?;
    let mut targets = relocations.lines().filter(|line| line.contains("R_X86_64")).peekable();
    if targets.peek().is_none() {
        bail!("the kernel archive has no entries of system calls: {relocations}");
    }
    let inner = format!(" {}sys_", kernel::INNER);
    match targets.find(|line| !line.contains(&inner)) {
        Some(line) => {
            bail!("an entry of a system call refers to more than the kernel's function: {}", line.trim())
        }
        None => Ok(()),
    }
}

fn objdump(build: &BuildTools, what: &[&str], object: &Path) -> Result<String> {
    Cmd::new(&build.objdump)
        .args(what)
        .arg(object)
        .quiet()
        .doing("checking the kernel's code")
        .timeout(Duration::from_secs(120))
        .capture()
}

/// Writes `text` unless the file already has it; returns whether it was written.
fn write_if_changed(path: &Path, text: impl AsRef<[u8]>) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == text.as_ref()) {
        return Ok(false);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn is_newer(input: &Path, product: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time(product).is_none_or(|product| time(input).is_none_or(|input| input > product))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_applies_to_the_pristine_source_line_by_line() {
        let tree = dirs::scratch("series").unwrap();
        let series = series().unwrap();
        assert!(series.len() > BUILD_FIXES);
        lay_out(&pristine_source().unwrap(), &series, tree.path()).unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join(name)).unwrap();
        assert!(read("src/lib.rs").contains("mod apf;"));
        assert_eq!(read("src/apf.rs"), kernel::HOOKS);
    }

    #[test]
    fn the_service_is_a_documented_feature_of_the_kernel_that_is_off_by_default() {
        let tree = dirs::scratch("feature").unwrap();
        lay_out(&pristine_source().unwrap(), &series().unwrap(), tree.path()).unwrap();
        let text = fs::read_to_string(tree.path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let default = manifest["features"]["default"].as_array().unwrap();
        assert!(default.iter().all(|name| name.as_str() != Some(kernel::SERVICE)));
        let feature = text.find(&format!("\n{} = [\"dep:apf-kernel\"]", kernel::SERVICE)).expect("a feature");
        assert!(text[..feature].lines().next_back().unwrap().starts_with("## "));
    }

    #[test]
    fn an_archive_can_have_all_of_the_kernels_default_features() {
        let manifest = fs::read_to_string(pristine_source().unwrap().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for feature in manifest["features"]["default"].as_array().unwrap() {
            let name = feature.as_str().unwrap();
            assert!(kernel::FEATURES.contains(&name) || name.parse::<Feature>().is_ok(), "{name}");
        }
        // An optional dependency is a feature as well.
        let known =
            |name: &str| manifest["features"].get(name).or_else(|| manifest["dependencies"].get(name));
        assert!(kernel::MORE_FEATURES.iter().all(|name| known(name).is_some()));
        assert_eq!("smp".parse::<Feature>().unwrap_err(), "every archive has `smp`");
        assert!("net".parse::<Feature>().unwrap_err().contains("tcp, udp"));
    }

    #[test]
    fn each_patch_has_a_subject_and_a_message() {
        for patch in series().unwrap() {
            let text = fs::read_to_string(&patch).unwrap();
            let (head, message) = text.split_once("\n\n").unwrap();
            let subject = head.lines().find_map(|line| line.strip_prefix("Subject: [PATCH] ")).unwrap();
            assert!(subject.contains(": "), "{}: {subject}", patch.display());
            let message = message.split("\ndiff --git ").next().unwrap();
            assert!(message.split_whitespace().count() > 10, "{}", patch.display());
        }
    }

    #[test]
    fn a_tree_laid_out_again_keeps_the_times_of_its_files() {
        let folder = dirs::scratch("mirror").unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for name in ["same", "changed", "removed"] {
            fs::create_dir_all(from.join("src")).unwrap();
            fs::write(from.join("src").join(name), name).unwrap();
        }
        mirror(&from, &to).unwrap();
        let time = |name: &str| fs::metadata(to.join("src").join(name)).unwrap().modified().unwrap();
        let before = ["same", "changed"].map(time);
        std::thread::sleep(Duration::from_millis(20));
        fs::write(from.join("src/changed"), "more").unwrap();
        fs::remove_file(from.join("src/removed")).unwrap();
        mirror(&from, &to).unwrap();
        let after = ["same", "changed"].map(time);
        assert_eq!(before[0], after[0]);
        assert!(before[1] < after[1]);
        assert_eq!(fs::read(to.join("src/changed")).unwrap(), b"more");
        assert!(!to.join("src/removed").exists());
    }

    /// Would fail if a system call of another kernel version had a buffer that no entry brings in.
    #[test]
    fn each_system_call_with_a_pointer_has_an_entry_or_a_reason() {
        const NONE: [(&str, &[&str]); 4] = [
            (
                "the heap's memory; `Heap` is for that",
                &["sys_realloc", "sys_dealloc", "sys_free", "sys_munmap", "sys_mprotect"],
            ),
            (
                "an object of the kernel's",
                &[
                    "sys_recmutex_destroy",
                    "sys_recmutex_lock",
                    "sys_recmutex_unlock",
                    "sys_spinlock_destroy",
                    "sys_spinlock_lock",
                    "sys_spinlock_unlock",
                    "sys_spinlock_irqsave_destroy",
                    "sys_spinlock_irqsave_lock",
                    "sys_spinlock_irqsave_unlock",
                ],
            ),
            (
                "not read",
                &["sys_clock_settime", "sys_freeaddrinfo", "sys_getaddrinfo", "sys_setitimer", "sys_setprio"],
            ),
            ("a function's address", &["sys_spawn2"]),
        ];
        let entries = fs::read_to_string(dirs::root().join("apf-service/kernel/src/entries.rs")).unwrap();
        let folder = pristine_source().unwrap().join("src/syscalls");
        let mut calls = BTreeSet::new();
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let text = if file.is_file() { fs::read_to_string(file).unwrap() } else { continue };
            for function in text.split("extern \"C\" fn ").skip(1) {
                let (name, rest) = function.split_once('(').unwrap();
                let arguments =
                    rest.split_once(") ->").map_or(rest, |parts| parts.0).split('{').next().unwrap();
                // Two old interfaces take addresses as numbers.
                let has_pointer = ["*mut ", "*const ", "&mut ", "ptr: usize", "fn("]
                    .iter()
                    .any(|kind| arguments.contains(kind));
                if name.starts_with("sys_") && has_pointer {
                    calls.insert(name.to_owned());
                }
            }
        }
        assert!(calls.len() > 60, "{calls:?}");
        for call in &calls {
            let has_entry = entries.contains(&format!("    {call}("));
            let has_reason = NONE.iter().any(|(_, names)| names.contains(&call.as_str()));
            assert!(has_entry != has_reason, "{call}");
        }
        assert!(NONE.iter().flat_map(|(_, names)| *names).all(|name| calls.contains(*name)));
    }
}
