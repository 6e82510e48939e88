//! The loader's errors for bad input: a message on the serial line, and an exit code for the
//! host (`images/loader/src/error.rs` lists both).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use tests::Xtask;
use tests::emulated::{self, Built, Ran, boot};

/// Far more than the loader needs to report an error.
const LIMIT: Duration = Duration::from_secs(20);

/// Offsets of `e_machine` and `e_phoff` in a 64-bit ELF file.
const E_MACHINE: usize = 18;
const E_PHOFF: usize = 32;

/// The loader, a good image, and a folder for changed ones.
struct Loader {
    xtask: Xtask,
    loader: String,
    image: Vec<u8>,
    good: String,
}

impl Loader {
    fn find(name: &str) -> Option<Self> {
        let xtask = Xtask::find(name)?;
        if !emulated::is_there(name) {
            return None;
        }
        let built = Built::new(&xtask);
        let (loader, good) = (built.file("loader").to_owned(), built.file("unikernel").to_owned());
        let image = std::fs::read(&good).expect("the unikernel was built");
        Some(Self { xtask, loader, image, good })
    }

    fn boot(&self, args: &[&OsStr]) -> Ran {
        let kernel = [OsStr::new("-kernel"), OsStr::new(&self.loader)];
        boot(&[&kernel, args].concat(), None, LIMIT)
    }

    /// Boots with a file of these bytes as the image.
    fn given(&self, bytes: &[u8]) -> Ran {
        let file: PathBuf = self.xtask.folder().join("image");
        std::fs::write(&file, bytes).expect("the test's folder can be written");
        self.boot(&[OsStr::new("-initrd"), file.as_os_str()])
    }

    /// Boots with the image changed by `change`.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> Ran {
        let mut bytes = self.image.clone();
        change(&mut bytes);
        self.given(&bytes)
    }
}

#[track_caller]
fn refused(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{}", ran.text);
    let lines: Vec<_> = ran.text.lines().filter(|line| line.starts_with("apf-loader: error: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(words), "{words}: {}", ran.text);
}

#[test]
fn the_loader_reports_each_kind_of_unusable_image() {
    let Some(loader) = Loader::find("loader-image") else { return };
    refused(&loader.boot(&[]), 33, "no image");
    refused(&loader.given(b"#!/bin/sh\necho no ELF file\n"), 35, "not an ELF file");
    refused(&loader.changed(|image| image[E_MACHINE] = 183), 37, "not for x86-64 (machine 183");
    // An ELF file for bare metal, but none of Hermit's.
    let other = std::fs::read(&loader.loader).expect("the loader was built");
    refused(&loader.given(&other), 39, "not a Hermit image");
    // Cut off in the middle of a segment, and a few bytes before the end.
    for len in [0x2_0000, loader.image.len() - 8] {
        refused(&loader.changed(|image| image.truncate(len)), 41, "truncated");
    }
    refused(&loader.changed(|image| image[E_PHOFF] += 4), 43, "malformed");
}

#[test]
fn the_loader_reports_each_kind_of_unsuitable_machine() {
    let Some(loader) = Loader::find("loader-machine") else { return };
    let image = [OsStr::new("-initrd"), OsStr::new(&loader.good)];
    let with = |more: &[&OsStr]| loader.boot(&[&image, more].concat());
    // The last -m counts. The file fits, but leaves too little memory for the kernel.
    refused(&with(&[OsStr::new("-m"), OsStr::new("16M")]), 45, "the image does not fit");
    refused(&with(&[OsStr::new("-append"), OsStr::from_bytes(b"\xff")]), 47, "not UTF-8");
    refused(&with(&[OsStr::new("-cpu"), OsStr::new("qemu32")]), 51, "no 64-bit mode");
}
