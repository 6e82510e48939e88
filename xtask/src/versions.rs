//! `images/versions.toml` as types, and the version in a program's `--version` line.

use std::collections::BTreeMap;
use std::iter;
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
    pub clients: Packages,
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
    pub busybox: Busybox,
    pub kernels: LabKernels,
}

/// `[debian.lab.busybox]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Busybox {
    pub package: String,
    /// Version that the tests have passed with.
    pub version: String,
}

/// `[debian.lab.kernels]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabKernels {
    pub default: LabKernel,
    pub others: Vec<LabKernel>,
}

/// A kernel that the lab can boot.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabKernel {
    /// Name on the command line.
    pub name: String,
    /// Debian suite that it comes from; `None` is the system's release.
    pub suite: Option<String>,
    /// Package that depends on the current concrete kernel.
    pub package: String,
    /// Version that the tests have passed with.
    pub version: String,
}

impl LabKernels {
    /// Finds a kernel by its name.
    ///
    /// # Errors
    /// There is none; the message lists them.
    pub fn find(&'static self, name: &str) -> Result<&'static LabKernel, String> {
        let all = || iter::once(&self.default).chain(&self.others);
        all().find(|kernel| kernel.name == name).ok_or_else(|| {
            format!(
                "the lab's kernels are {}",
                all().map(|kernel| &*kernel.name).collect::<Vec<_>>().join(", ")
            )
        })
    }
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
        assert_eq!(
            VERSIONS.debian.lab.kernels.find("6.12").unwrap().suite.as_deref(),
            Some("bookworm-backports")
        );
        assert_eq!(
            VERSIONS.debian.lab.kernels.find("5").unwrap_err(),
            "the lab's kernels are 6.1, 6.12, 7.3"
        );
        assert!(VERSIONS.debian.toolchain.packages.iter().any(|name| name == "rust-web-src"));
    }
}
