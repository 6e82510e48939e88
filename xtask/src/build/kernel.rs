//! The Hermit kernel archive.
//!
//! Pristine source from the crate registry → edited tree → staticlib → one
//! object with all code in one section and only the interface left global →
//! `libhermit.a`. The recipe is in `images/kernel`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use images::{edits, kernel};

use super::guest;
use crate::dirs;
use crate::process::{Cmd, cargo, command};
use crate::setup::{BuildTools, Tools};

const TARGET: &str = "x86_64-unknown-none";

/// Builds the archive; returns the folder that holds `libhermit.a`.
///
/// # Errors
/// The source cannot be downloaded, an edit does not match, or it does not compile.
pub fn build(tools: &Tools) -> Result<PathBuf> {
    let base = dirs::sub("kernel")?;
    let tree = base.join("source");
    lay_out(&pristine_source()?, &tree)?;
    let staticlib = compile(tools, &tree, &base.join("build"))?;
    let out = base.join("lib");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    write_if_changed(&base.join("link.ld"), kernel::LINKER_SCRIPT)?;
    if is_newer(&staticlib, &out.join("libhermit.a"))
        || is_newer(&base.join("link.ld"), &out.join("libhermit.a"))
    {
        make_archive(tools.build()?, &staticlib, &base, &out).context("the kernel archive cannot be made")?;
    }
    Ok(out)
}

/// Finds the source that cargo has fetched for the workspace's lock file.
fn pristine_source() -> Result<PathBuf> {
    let metadata = cargo()
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

/// Writes the edited tree. Unchanged files keep their times, so that cargo compiles only
/// the others.
fn lay_out(source: &Path, tree: &Path) -> Result<()> {
    let service = dirs::root().join("apf-service");
    let service = service.to_str().context("the workspace's path is not UTF-8, which Cargo.toml needs")?;
    let edits =
        edits::parse(kernel::EDITS, &[("apf-service", service)]).context("images/kernel/edits.toml")?;
    let mut changed = edits::apply(source, &edits)?;
    changed.insert("src/apf.rs".into(), kernel::HOOKS.into());
    // The versions of all crates are the workspace's.
    let lock = dirs::root().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let own_lock = tree.join("Cargo.lock");
    let from = tree.join("Cargo.lock.workspace");
    copy_tree(source, source, tree, &changed)?;
    for (file, text) in &changed {
        write_if_changed(&tree.join(file), text)?;
    }
    // cargo removes entries that the kernel does not use from its copy, so the original is
    // kept beside it for comparison.
    if write_if_changed(&from, &lock)? || !own_lock.exists() {
        fs::write(&own_lock, &lock).with_context(|| format!("cannot write {}", own_lock.display()))?;
    }
    Ok(())
}

/// Copies all files except `changed`, and except toolchain file, cargo configuration and
/// lock file, which are for upstream's developers.
fn copy_tree(
    root: &Path,
    source: &Path,
    tree: &Path,
    changed: &std::collections::BTreeMap<PathBuf, String>,
) -> Result<()> {
    const LEFT_OUT: [&str; 5] = ["rust-toolchain.toml", ".cargo", "Cargo.lock", "tests", "Cargo.toml.orig"];
    fs::create_dir_all(tree).with_context(|| format!("cannot make {}", tree.display()))?;
    for entry in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let path = entry?.path();
        let relative = path.strip_prefix(root)?;
        let name = path.file_name().unwrap_or_default();
        if LEFT_OUT.iter().any(|&left_out| relative == Path::new(left_out)) || changed.contains_key(relative)
        {
            continue;
        }
        if path.is_dir() {
            copy_tree(root, &path, &tree.join(name), changed)?;
        } else {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write_if_changed(&tree.join(name), text)?;
        }
    }
    Ok(())
}

fn compile(tools: &Tools, tree: &Path, target_dir: &Path) -> Result<PathBuf> {
    guest::cargo(tools.toolchain()?)
        .args(["rustc", "--release", "--lib", "--crate-type", "staticlib", "--target", TARGET])
        .args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"])
        .args(["--no-default-features", "--features", &kernel::FEATURES.join(","), "--target-dir"])
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
    let (merged, object, keep) = (base.join("merged.o"), base.join("hermit.o"), base.join("keep.txt"));
    let symbols = run(&build.nm).args(["-g", "--defined-only", "-j"]).arg(staticlib).capture()?;
    let exported: Vec<&str> = symbols.lines().filter(|symbol| kernel::is_exported(symbol)).collect();
    run(&build.ld)
        .args(["-r", "--whole-archive", "--gc-sections", "-e", "_start", "-u", "runtime_entry", "-T"])
        .arg(base.join("link.ld"))
        // The interface keeps everything that it uses from being collected.
        .args(exported.iter().flat_map(|symbol| ["-u", symbol]))
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
    fs::write(&keep, exported.join("\n") + "\n")
        .with_context(|| format!("cannot write {}", keep.display()))?;
    run(&build.objcopy)
        .arg(format!("--keep-global-symbols={}", keep.display()))
        .args([&merged, &object])
        .capture()?;
    check_soft_float(build, &object)?;
    // Renamed into place: an interrupted build leaves no partial archive.
    let (new, archive) = (base.join("new.a"), out.join("libhermit.a"));
    let _ = fs::remove_file(&new);
    run(&build.ar).arg("rcsD").args([&new, &object]).capture()?;
    fs::rename(&new, &archive).with_context(|| format!("cannot write {}", archive.display()))
}

/// Checks that the kernel's code uses no FPU registers: in interrupt context they hold the
/// interrupted task's state. The target forbids them; this checks the target.
fn check_soft_float(build: &BuildTools, object: &Path) -> Result<()> {
    let text = Cmd::new(&build.objdump)
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(object)
        .quiet()
        .doing("checking the kernel's code")
        .timeout(Duration::from_secs(120))
        .capture()?;
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
