//! `cargo xtask image`: everything that boots a Hermit application, described.
//!
//! - [`app`]: an application that the loader takes
//! - [`bundle`]: the loader with the application inside
//! - [`disk`]: a disk that boots under a BIOS and under UEFI
//! - [`manifest`]: the images with purpose, size and boot command
//! - [`time`]: each image's time to the program's first line

pub mod app;
mod bundle;
mod disk;
mod manifest;
pub mod time;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::build;
use crate::dirs;
use crate::output::{self, Earlier};
use crate::probe::{self, Host, Verdict};
use crate::setup::{self, KERNELS, Needs};
use app::App;
use manifest::{Described, MANIFEST, Manifest};

/// `cargo xtask image`
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The Hermit application's ELF file [default: this project's unikernel]
    #[arg(long, value_name = "ELF")]
    app: Option<PathBuf>,
    /// Folder for the images [default: target/apf/image]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Boot each image this often, and say how long it takes to the program's first line
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u8).range(1..=50))]
    time: Option<u8>,
    /// Place where they are booted
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    host: Host,
    /// Arguments for the program: the disk image carries them, for the others the
    /// manifest says where they go
    #[arg(last = true)]
    args: Vec<String>,
}

/// `cargo xtask image`
pub fn run(args: &ImageArgs) -> Result<()> {
    // A user's mistake is reported before anything is installed, built or written.
    if let Some(app) = &args.app {
        App::read(app)?;
    }
    let out = folder(args.out.as_deref())?;
    output::check(&out, &[ELF, LOADER, STANDALONE, DISK, MANIFEST])?;
    let verdict = args.time.is_some().then(|| probe::choose(args.host)).transpose()?;
    let boots = verdict.is_some();
    let lab = verdict.as_ref().is_some_and(Verdict::is_lab).then(|| &KERNELS.default);
    let tools =
        setup::ensure(Needs { guest: true, grub: true, uhyve: boots, qemu: boots, lab, ..Needs::default() })?;
    let loader = build::loader::build(&tools)?;
    let app = match &args.app {
        Some(app) => app.clone(),
        None => build::app::build(&tools, &build::kernel::build(&tools, &[])?)?.0,
    };
    let name = app.file_name().unwrap_or_default().to_string_lossy().into_owned();

    let scratch = dirs::scratch("image")?;
    let file = |name| scratch.path().join(name);
    let elf = file(ELF);
    build::app::without_symbols(&tools, &app, &elf)?;
    disk::make(tools.grub.get()?, &loader, &elf, &args.args, &file(DISK))
        .context("the disk image cannot be made")?;

    let (app, loader) = (App::read(&elf)?, read(&loader)?);
    let standalone = bundle::bundle(&loader, &app)?;
    let files = [(ELF, app.bytes), (LOADER, loader), (STANDALONE, standalone), (DISK, read(&file(DISK))?)];
    let mut files: Vec<output::File> = files.map(|(name, bytes)| (name.to_owned(), bytes)).into();
    let described = files.iter().map(|(name, bytes)| Described::new(name, bytes)).collect::<Vec<_>>();
    let described = described.try_into().map_err(|_| anyhow!("internal: four files"))?;
    let manifest = Manifest::new(name, args.args.clone(), described);
    files.push((MANIFEST.to_owned(), (serde_json::to_string_pretty(&manifest)? + "\n").into()));
    output::write(&out, &files, Earlier::Keep)?;
    tell(&manifest, &out);
    match (verdict, args.time) {
        (Some(verdict), Some(runs)) => time::everywhere(&verdict, &tools, &out, runs.into()),
        _ => Ok(()),
    }
}

const ELF: &str = "app.elf";
const LOADER: &str = "loader.elf";
const STANDALONE: &str = "standalone.elf";
const DISK: &str = "disk.img";

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The folder for the images, made if missing.
fn folder(out: Option<&Path>) -> Result<PathBuf> {
    let Some(out) = out else { return dirs::sub("image") };
    fs::create_dir_all(out).with_context(|| format!("--out {} cannot be a folder", out.display()))?;
    Ok(out.to_path_buf())
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
