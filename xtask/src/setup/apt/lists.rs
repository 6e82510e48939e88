//! Package lists: the system's, or those of one more suite, which the system need not have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::call::{apt_get, open_to_apt, refresh};
use super::sources;
use crate::dirs;
use crate::process::Cmd;

/// Package lists that apt reads.
pub struct Lists {
    /// apt's options that name them; none for the system's.
    options: Vec<String>,
}

/// Kind of packages, as in a line of apt's sources.
#[derive(Clone, Copy)]
pub enum Kind {
    Binary,
    Source,
}

impl Lists {
    /// The system's lists.
    pub const fn system() -> Self {
        Self { options: Vec::new() }
    }

    /// Reads the lists of `suite` into `scratch`, from the mirror that serves the release. The system's own
    /// are not changed.
    pub fn of(suite: &str, kind: Kind, scratch: &Path) -> Result<Self> {
        let (list, lists) = (scratch.join("sources.list"), scratch.join("lists"));
        fs::create_dir_all(lists.join("partial"))?;
        open_to_apt(scratch);
        let kind = match kind {
            Kind::Binary => "deb",
            Kind::Source => "deb-src",
        };
        fs::write(&list, format!("{}\n", sources::line_for(kind, suite)?))?;
        let options = [
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::Etc::SourceList={}", list.display()),
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", scratch.display()),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".into(), option]).collect();
        let lists = Self { options };
        let doing = format!("reading the package lists of {suite}");
        lists.apt_get(&["update"]).doing(doing).logged(&dirs::log("apt-update-suite")?)?;
        Ok(lists)
    }

    const fn is_systems(&self) -> bool {
        self.options.is_empty()
    }

    /// Makes a command of apt-get that reads these lists.
    pub fn apt_get(&self, words: &[&str]) -> Cmd {
        let words = words.iter().map(|&word| word.to_owned());
        apt_get(&self.options.iter().cloned().chain(words).collect::<Vec<_>>())
    }

    /// Downloads packages into `folder`, which holds nothing else that ends in `.deb`; returns their files.
    pub fn download(&self, packages: &[&str], folder: &Path) -> Result<Vec<PathBuf>> {
        open_to_apt(folder);
        let words = [&["download"], packages].concat();
        let fetch =
            || self.apt_get(&words).cwd(folder).doing("downloading").logged(&dirs::log("apt-download")?);
        if let Err(error) = fetch() {
            if !self.is_systems() {
                return Err(error);
            }
            // They may name a version that the mirror has replaced.
            refresh().context(format!("{error:#}"))?;
            fetch()?;
        }
        let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(files
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect())
    }

    /// Lists the packages of the kernel that the package `meta` depends on: one, or from Linux 7 on an
    /// image and its parts.
    pub fn kernel(&self, meta: &str) -> Result<Vec<String>> {
        let mut image = first_kernel(&self.depends(meta)?);
        if image.is_none() && self.is_systems() {
            refresh()?;
            image = first_kernel(&self.depends(meta)?);
        }
        let image = image.with_context(|| format!("apt knows no package {meta}"))?;
        let parts = parts_of(&image, &self.depends(&image)?);
        Ok([vec![image], parts].concat())
    }

    /// The packages that `package` depends on; none if it is unknown.
    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let words = ["depends", "--important", package];
        let text = Cmd::new("apt-cache").args(&self.options).args(words).quiet().output()?.stdout;
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(|name| name.trim().to_owned()).collect())
    }
}

fn first_kernel(depends: &[String]) -> Option<String> {
    depends.iter().find(|name| name.starts_with("linux-image-")).cloned()
}

/// Returns those dependencies of the package `linux-image-RELEASE` that are parts of the same release.
fn parts_of(image: &str, depends: &[String]) -> Vec<String> {
    let release = image.trim_start_matches("linux-image-");
    depends.iter().filter(|name| name.starts_with("linux-") && name.ends_with(release)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_one_package_or_an_image_and_its_parts() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let meta = names("linux-base-amd64 linux-image-7.3.4+deb13-amd64 linux-modules-amd64");
        let image = first_kernel(&meta).unwrap();
        assert_eq!(image, "linux-image-7.3.4+deb13-amd64");
        let depends =
            names("linux-base <dracut> linux-binary-7.3.4+deb13-amd64 linux-modules-7.3.4+deb13-amd64");
        assert_eq!(parts_of(&image, &depends), depends[2..]);
        assert!(parts_of("linux-image-6.1.0-56-amd64", &names("kmod linux-base initramfs-tools")).is_empty());
    }
}
