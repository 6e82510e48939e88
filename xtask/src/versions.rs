//! `images/versions.toml`, typed, and the comparison of version numbers.

use std::sync::LazyLock;

use serde::Deserialize;

/// The versions this build relies on.
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
    pub uhyve: Uhyve,
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

/// `[uhyve]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uhyve {
    pub version: String,
}

/// `[lab]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    pub qemu_min: String,
}

/// `[debian]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    pub codename: String,
    pub toolchain: Packages,
    pub build: Packages,
    pub qemu: Packages,
    pub lab: LabPackages,
    pub grub: GrubPackages,
}

/// Packages that are installed, and the suite they come from.
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
}

/// Packages that are only unpacked, for disk images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrubPackages {
    pub packages: Vec<String>,
}

/// The first dotted number in a tool's `--version` line: `10.0.2` of
/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
pub fn find(line: &str) -> Option<&str> {
    line.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.trim_end_matches('.'))
}

/// Is `have` at least `min`, number by number? Missing parts count as zero.
pub fn at_least(have: &str, min: &str) -> bool {
    let parts =
        |version: &str| -> Vec<u64> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let (mut have, mut min) = (parts(have), parts(min));
    let len = have.len().max(min.len());
    have.resize(len, 0);
    min.resize(len, 0);
    have >= min
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_complete() {
        assert_eq!(VERSIONS.rust.guest, "1.96.0");
        assert!(VERSIONS.debian.toolchain.packages.iter().any(|name| name == "rust-web-src"));
    }

    #[test]
    fn versions_compare_by_number_not_by_letter() {
        assert!(at_least("10.0.2", "10.0"));
        assert!(at_least("10.0", "10.0.0"));
        assert!(!at_least("7.2.18", "10.0"));
        assert!(!at_least("9.2", "10.0"));
        assert!(at_least("10.10", "10.9"));
    }

    #[test]
    fn versions_are_found_in_what_tools_print() {
        assert_eq!(find("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)"), Some("10.0.2"));
        assert_eq!(find("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some("1.96.0"));
        assert_eq!(find("uhyve 0.10.0"), Some("0.10.0"));
        assert_eq!(find("no version"), None);
    }
}
