//! The tools that make disk images, below `target/apf/grub`: GRUB, mtools, xorriso, and UEFI
//! firmware to boot the images. None of them is installed on the host.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt;
use super::apt::lists::Lists;
use crate::dirs;
use crate::versions::VERSIONS;

/// The unpacked packages.
#[derive(Clone, Debug)]
pub struct Grub {
    root: PathBuf,
}

impl fmt::Display for Grub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

impl Grub {
    fn at(root: PathBuf) -> Option<Self> {
        let grub = Self { root };
        let there = ["grub-mkimage", "mtools", "xorriso"].iter().all(|name| grub.program(name).is_file())
            && ["i386-pc", "x86_64-efi"].iter().all(|name| grub.modules(name).is_dir());
        there.then_some(grub)
    }

    /// Returns the path of a tool.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("usr/bin").join(name)
    }

    /// Returns the folder of the tools' libraries.
    pub fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu")
    }

    /// Returns the folder of GRUB's modules for a platform.
    pub fn modules(&self, platform: &str) -> PathBuf {
        self.root.join("usr/lib/grub").join(platform)
    }
}

fn root() -> PathBuf {
    dirs::apf().join("grub")
}

/// Finds or downloads them. Unpacked packages are kept until `target/apf/grub` is removed.
pub fn ensure() -> Result<Grub> {
    if let Some(grub) = Grub::at(root()) {
        return Ok(grub);
    }
    if !apt::on_debian() {
        bail!(
            "disk images need Debian's GRUB, and this machine has no apt to fetch it with: \
             use a Debian {} machine or container",
            VERSIONS.debian.codename
        );
    }
    let names: Vec<&str> = VERSIONS.debian.grub.packages.iter().map(String::as_str).collect();
    println!("  download {}, for disk images (unpacked, not installed)", names.join(" "));
    let scratch = dirs::scratch("grub")?;
    let files = Lists::system().download(&names, scratch.path())?;
    let new = apt::unpack(&files, scratch.path())?;
    remove_unused(&new);
    apt::move_into_place(&new, &root())?;
    Grub::at(root()).context("Debian's GRUB packages lack a tool or a module folder that disk images need")
}

fn remove_unused(root: &Path) {
    for part in ["etc", "usr/sbin", "usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info"] {
        let _ = fs::remove_dir_all(root.join(part));
    }
}
