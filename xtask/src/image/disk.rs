//! A disk that boots under a BIOS and under UEFI: GRUB, the loader, the application.
//!
//! It is an ISO 9660 file system that is a hard disk as well, as `grub-mkrescue` makes
//! them; GRUB is put together here and not by that program, which takes the time of
//! day for the disk's name.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::dirs;
use crate::process::{Cmd, command::shell_quote};
use crate::setup::Grub;

/// GRUB's modules for finding the disk and reading it.
const MODULES: [&str; 5] = ["iso9660", "search", "search_fs_file", "multiboot2", "boot"];
const BIOS_MODULES: [&str; 1] = ["biosdisk"];
const UEFI_MODULES: [&str; 3] = ["part_msdos", "part_gpt", "fat"];
/// Room for GRUB's UEFI program, and some, in KiB: mformat makes a FAT of any size.
const UEFI_PARTITION_KIB: u64 = 1024;

/// Makes the disk image `out` of the files `loader` and `app`; `args` are the program's.
pub fn make(grub: &Grub, loader: &Path, app: &Path, args: &[String], out: &Path) -> Result<()> {
    let scratch = dirs::scratch("disk")?;
    let (tree, config) = (scratch.path().join("tree"), scratch.path().join("grub.cfg"));
    let boot = tree.join("boot");
    fs::create_dir_all(&boot)?;
    fs::copy(loader, boot.join("loader"))?;
    fs::copy(app, boot.join("app"))?;
    fs::write(&config, configuration(args)?)?;

    let bios = boot.join("bios.img");
    image(grub, "i386-pc-eltorito", "i386-pc", &config, &bios, &BIOS_MODULES)?;
    let uefi = scratch.path().join("BOOTX64.EFI");
    image(grub, "x86_64-efi", "x86_64-efi", &config, &uefi, &UEFI_MODULES)?;
    uefi_partition(grub, &uefi, &boot.join("uefi.img"))?;
    pin_times(&tree)?;

    tool(grub, "xorriso")
        .args(["-as", "mkisofs", "-quiet", "-r", "-V", "HERMIT", "-o"])
        .arg(out)
        .args(["-b", "boot/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
        .arg("--grub2-boot-info")
        .arg("--grub2-mbr")
        .arg(grub.modules("i386-pc").join("boot_hybrid.img"))
        .args(["--efi-boot", "boot/uefi.img", "-efi-boot-part", "--efi-boot-image"])
        .arg("--protective-msdos-label")
        .arg(&tree)
        .logged(&dirs::log("disk")?)
}

/// Returns GRUB's configuration.
///
/// # Errors
/// An argument has a character that ends a line or that is invisible.
fn configuration(args: &[String]) -> Result<String> {
    let mut line = "multiboot2 /boot/loader --".to_owned();
    for arg in args {
        if arg.chars().any(char::is_control) {
            bail!("the argument {arg:?} has a control character, which GRUB's configuration cannot hold");
        }
        line += " ";
        line += &shell_quote(arg);
    }
    Ok(format!("search --no-floppy --set=root --file /boot/loader\n{line}\nmodule2 /boot/app\nboot\n"))
}

/// GRUB itself, for one firmware.
fn image(
    grub: &Grub,
    format: &str,
    platform: &str,
    config: &Path,
    out: &Path,
    modules: &[&str],
) -> Result<()> {
    tool(grub, "grub-mkimage")
        .args(["-O", format, "-p", "/boot/grub", "-d"])
        .arg(grub.modules(platform))
        .arg("-c")
        .arg(config)
        .arg("-o")
        .arg(out)
        .args(modules)
        .args(MODULES)
        .logged(&dirs::log("disk-grub")?)
        .with_context(|| format!("GRUB for {platform} cannot be made"))
}

/// The FAT file system where UEFI looks for a program to start.
fn uefi_partition(grub: &Grub, program: &Path, out: &Path) -> Result<()> {
    fs::File::create(out)?.set_len(UEFI_PARTITION_KIB << 10)?;
    pin_time(program)?;
    let steps: [&[&str]; 3] = [
        // The serial number would be the time of day.
        &["mformat", "-N", "0", "-v", "HERMIT", "::"],
        &["mmd", "::/EFI", "::/EFI/BOOT"],
        &["mcopy", "-m", &program.to_string_lossy(), "::/EFI/BOOT/BOOTX64.EFI"],
    ];
    for step in steps {
        tool(grub, "mtools")
            .args(["-c", step[0], "-i"])
            .arg(out)
            .args(&step[1..])
            .logged(&dirs::log("disk-uefi")?)
            .context("the UEFI partition cannot be made")?;
    }
    Ok(())
}

/// One of the unpacked tools, which find their libraries beside them, and no time of day.
fn tool(grub: &Grub, name: &str) -> Cmd {
    Cmd::new(grub.program(name))
        .env("LD_LIBRARY_PATH", grub.libraries())
        .env("SOURCE_DATE_EPOCH", "0")
        .env("TZ", "UTC")
        .quiet()
        .doing("making the disk image")
        .timeout(Duration::from_secs(120))
}

/// Gives everything below `path` the same time, which goes into the file system.
fn pin_times(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            pin_times(&entry?.path())?;
        }
    }
    pin_time(path)
}

fn pin_time(path: &Path) -> Result<()> {
    fs::File::open(path)
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_program_as_they_are() {
        let args = ["--name".to_owned(), "it's $HOME".to_owned()];
        let text = configuration(&args).unwrap();
        assert!(text.contains(r"multiboot2 /boot/loader -- '--name' 'it'\''s $HOME'"), "{text}");
    }

    #[test]
    fn an_argument_that_would_end_the_line_is_refused() {
        let error = configuration(&["a\nboot".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("control character"), "{error}");
    }
}
