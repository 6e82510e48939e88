//! `cargo xtask image`: everything that boots a Hermit application, described.
//!
//! - [`bundle`]: the loader with the application inside
//! - [`disk`]: a disk that boots under a BIOS and under UEFI
//! - [`manifest`]: which images there are, what for, and how to boot each

mod bundle;
mod disk;
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::build;
use crate::dirs;
use crate::process::{Cmd, Scratch};
use crate::setup::{self, Needs, Tools};
use manifest::{Described, Manifest};

/// `cargo xtask image`
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The Hermit application's ELF file [default: this project's unikernel]
    #[arg(long, value_name = "ELF")]
    app: Option<PathBuf>,
    /// Folder for the images [default: target/apf/image]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Arguments for the program: the disk image carries them, for the others the
    /// manifest says where they go
    #[arg(last = true)]
    args: Vec<String>,
}

/// An application that the loader takes.
struct App {
    /// The file's bytes, without symbols.
    bytes: Vec<u8>,
    /// Bytes of memory that it takes.
    memory: u64,
    /// Its address, if it cannot be anywhere else.
    linked_at: Option<u64>,
}

/// `cargo xtask image`
///
/// # Errors
/// The application is none for the loader, the folder cannot be written, or a tool fails.
pub fn run(args: &ImageArgs) -> Result<()> {
    // A user's mistake is told before anything is installed, built or written.
    if let Some(app) = &args.app {
        check(app)?;
    }
    let out = folder(args.out.as_deref())?;
    let tools = setup::ensure(Needs { guest: true, grub: true, ..Needs::default() })?;
    let loader = build::loader::build(&tools)?;
    let app = match &args.app {
        Some(app) => app.clone(),
        None => build::app::build(&tools, &build::kernel::build(&tools)?)?,
    };
    let name = app.file_name().unwrap_or_default().to_string_lossy().into_owned();

    let scratch = Scratch::dir("image")?;
    let file = |name| scratch.path().join(name);
    let elf = file(ELF);
    without_symbols(&tools, &app, &elf)?;
    fs::copy(&loader, file(LOADER)).with_context(|| format!("cannot copy {}", loader.display()))?;
    let standalone = bundle::bundle(&fs::read(file(LOADER))?, &App::read(&elf)?)?;
    fs::write(file(STANDALONE), standalone)?;
    disk::make(tools.grub()?, &file(LOADER), &elf, &args.args, &file(DISK))?;

    let mut files = Vec::new();
    for name in [ELF, LOADER, STANDALONE, DISK] {
        files.push(Described::new(name, &fs::read(file(name))?));
    }
    let files = files.try_into().map_err(|_| anyhow!("internal: four files"))?;
    let manifest = Manifest::new(name, args.args.clone(), files);
    fs::write(file(MANIFEST), serde_json::to_string_pretty(&manifest)? + "\n")?;

    for name in [ELF, LOADER, STANDALONE, DISK, MANIFEST] {
        put(&file(name), &out.join(name))?;
    }
    tell(&manifest, &out);
    Ok(())
}

/// Whether a file is an application that Hermit's loader takes.
///
/// # Errors
/// It cannot be read, or is none.
pub fn check(app: &Path) -> Result<()> {
    App::read(app).map(drop)
}

const ELF: &str = "app.elf";
const LOADER: &str = "loader.elf";
const STANDALONE: &str = "standalone.elf";
const DISK: &str = "disk.img";
const MANIFEST: &str = "manifest.json";

impl App {
    /// Reads the file with the loader's own eyes.
    fn read(path: &Path) -> Result<Self> {
        let bytes =
            fs::read(path).with_context(|| format!("cannot read the application {}", path.display()))?;
        let object = apf_loader::image::parse(&bytes).with_context(|| {
            format!("{} is no application for Hermit's loader: please give an ELF file that was linked with a Hermit kernel", path.display())
        })?;
        let (memory, linked_at) = (object.mem_size() as u64, object.start_addr());
        Ok(Self { bytes, memory, linked_at })
    }
}

/// Symbols and line numbers are most of the file, and each boot would copy them.
fn without_symbols(tools: &Tools, app: &Path, out: &Path) -> Result<()> {
    Cmd::new(&tools.build()?.objcopy)
        .arg("--strip-all")
        .args([app, out])
        .quiet()
        .timeout(Duration::from_secs(120))
        .capture()
        .with_context(|| format!("cannot take the symbols out of {}", app.display()))?;
    Ok(())
}

/// The folder for the images, made if missing.
fn folder(out: Option<&Path>) -> Result<PathBuf> {
    let Some(out) = out else { return dirs::sub("image") };
    fs::create_dir_all(out).with_context(|| format!("--out {} cannot be a folder", out.display()))?;
    Ok(out.to_path_buf())
}

/// Copies beside and moves, so that an interrupted run leaves no half image.
fn put(from: &Path, to: &Path) -> Result<()> {
    let new = Scratch::guard(to.with_extension("new"));
    fs::copy(from, new.path())
        .and_then(|_| fs::rename(new.path(), to))
        .with_context(|| format!("cannot write {}", to.display()))
}

fn tell(manifest: &Manifest, out: &Path) {
    for image in &manifest.images {
        println!("\n{}: {}", image.name, image.purpose);
        for file in &image.files {
            println!("  {:<15} {:>9} bytes  {}", file.file, file.size, file.sha256);
        }
    }
    println!("\nhow to boot each: {}", out.join(MANIFEST).display());
}
