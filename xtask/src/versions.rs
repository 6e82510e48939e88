//! `images/versions.toml` as types, and the version in a program's `--version` line.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The versions that this build relies on.
pub static VERSIONS: LazyLock<Versions> = LazyLock::new(|| {
    toml::from_str(include_str!("../../images/versions.toml"))
        .expect("images/versions.toml is checked by a test")
});

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    pub rust: Rust,
    pub hermit: Hermit,
    /// Programs that are built from their crates.
    pub crates: BTreeMap<String, String>,
    pub lab: Lab,
    pub debian: Debian,
}

/// `[rust]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rust {
    pub guest: String,
}

/// `[hermit]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hermit {
    pub kernel: String,
}

/// `[lab]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    pub qemu: LabQemu,
}

/// `[lab.qemu]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabQemu {
    /// Debian suite that its source comes from.
    pub suite: String,
    /// Upstream's version, as Debian names its archive.
    pub version: String,
    pub sha256: String,
}

/// `[debian]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    pub codename: String,
    pub toolchain: Packages,
    pub build: Packages,
    pub qemu: Packages,
    pub emulator: Packages,
    pub emulator_backports: Packages,
    pub lab: LabPackages,
    pub grub: GrubPackages,
}

/// Packages to be installed, and the suite they come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    pub suite: String,
    pub packages: Vec<String>,
}

/// Packages that are only unpacked, for the lab.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabPackages {
    pub kernel: String,
    pub busybox: String,
    /// Versions that the tests have passed with.
    pub kernel_version: String,
    pub busybox_version: String,
}

/// Packages that are only unpacked, for disk images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrubPackages {
    pub packages: Vec<String>,
}

/// Finds the first dotted number in a tool's `--version` line: `10.0.2` of
/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
pub fn find(line: &str) -> Option<&str> {
    line.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_file_parses_and_pins_the_guests_rust() {
        assert_eq!(VERSIONS.rust.guest, "1.96.0");
        assert!(VERSIONS.debian.toolchain.packages.iter().any(|name| name == "rust-web-src"));
    }
}
