//! The kernel modules that the lab loads, in load order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

/// A kernel's modules. `depmod` has not run on an unpacked package, so a module's
/// dependencies are read from the module itself.
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Lists `lib/modules/<release>`.
    pub fn list(dir: &Path) -> Result<Self> {
        let builtin = fs::read_to_string(dir.join("modules.builtin"))
            .with_context(|| format!("cannot read modules.builtin in {}", dir.display()))?;
        let builtin = builtin.lines().map(|line| name_of(Path::new(line))).collect();
        let mut modules = Self { files: BTreeMap::new(), builtin };
        modules.walk(&dir.join("kernel"))?;
        Ok(modules)
    }

    fn walk(&mut self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.walk(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "ko") {
                self.files.insert(name_of(&path), path);
            }
        }
        Ok(())
    }

    /// Lists the files of `wanted` and of their dependencies, each after its own. A name with a `?` is left
    /// out if this kernel has no such module.
    pub fn load_order(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        let wanted: Vec<_> = wanted
            .iter()
            .filter_map(|name| match name.strip_suffix('?') {
                Some(name) => self.files.contains_key(&normal(name)).then_some(name),
                None => Some(*name),
            })
            .collect();
        let order = resolve(&wanted, &self.builtin, &|name| {
            let path = self.files.get(name).with_context(|| format!("this kernel has no module {name}"))?;
            depends(&fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
                .with_context(|| format!("cannot read {}", path.display()))
        })?;
        Ok(order.iter().map(|name| self.files[name].clone()).collect())
    }
}

/// Parses `images/lab/modules`: a name per line, and comments.
pub fn parse_list(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Returns the module's name: `kvm_amd` for `kernel/arch/x86/kvm/kvm-amd.ko`.
fn name_of(path: &Path) -> String {
    normal(&path.file_stem().unwrap_or_default().to_string_lossy())
}

/// Replaces `-` by `_`: in a module's name the kernel treats them as equal.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Orders modules depth first: each once, after its dependencies, without built-in ones.
fn resolve(
    wanted: &[&str],
    builtin: &BTreeSet<String>,
    depends: &dyn Fn(&str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    fn visit(
        name: &str,
        path: &mut Vec<String>,
        order: &mut Vec<String>,
        skip: &BTreeSet<String>,
        depends: &dyn Fn(&str) -> Result<Vec<String>>,
    ) -> Result<()> {
        let name = normal(name);
        if skip.contains(&name) || order.contains(&name) {
            return Ok(());
        }
        if path.contains(&name) {
            bail!("modules depend on each other in a circle: {} {name}", path.join(" "));
        }
        path.push(name.clone());
        for dependency in depends(&name)? {
            visit(&dependency, path, order, skip, depends)?;
        }
        path.pop();
        order.push(name);
        Ok(())
    }
    let mut order = Vec::new();
    for name in wanted {
        visit(name, &mut Vec::new(), &mut order, builtin, depends)?;
    }
    Ok(order)
}

/// Reads `depends=a,b` from a module's `.modinfo`, a list of C strings.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module).context("not a kernel module")?;
    let section = file.section_by_name(".modinfo").context("a kernel module without .modinfo")?;
    Ok(depends_in(section.data()?))
}

fn depends_in(modinfo: &[u8]) -> Vec<String> {
    let entries = modinfo.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    entries
        .filter_map(|entry| entry.strip_prefix("depends=").map(str::to_owned))
        .flat_map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(name: &str) -> Result<Vec<String>> {
        let names: &[&str] = match name {
            "kvm_amd" => &["kvm", "ccp"],
            "kvm" => &["irqbypass"],
            "a" => &["b"],
            "b" => &["a"],
            "missing" => bail!("this kernel has no module missing"),
            _ => &[],
        };
        Ok(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn each_module_is_listed_once_and_after_its_dependencies() {
        let builtin = BTreeSet::from(["virtio".to_owned()]);
        let order = resolve(&["kvm-amd", "kvm", "virtio", "configfs"], &builtin, &graph).unwrap();
        assert_eq!(order, ["irqbypass", "kvm", "ccp", "kvm_amd", "configfs"]);
    }

    #[test]
    fn a_module_that_not_every_kernel_has_may_be_missing() {
        let none = Modules { files: BTreeMap::new(), builtin: BTreeSet::new() };
        assert!(none.load_order(&["fscache?"]).unwrap().is_empty());
        assert!(none.load_order(&["netfs"]).is_err());
    }

    #[test]
    fn circles_and_missing_modules_are_errors() {
        assert!(resolve(&["a"], &BTreeSet::new(), &graph).unwrap_err().to_string().contains("circle"));
        assert!(resolve(&["missing"], &BTreeSet::new(), &graph).is_err());
    }

    #[test]
    fn the_list_of_modules_may_have_comments() {
        assert_eq!(parse_list("# modules\nkvm\n\nccp   # symbols\n"), ["kvm", "ccp"]);
    }

    #[test]
    fn modinfo_is_a_list_of_c_strings() {
        assert_eq!(depends_in(b"license=GPL\0depends=kvm,ccp\0intree=Y\0"), ["kvm", "ccp"]);
        assert!(depends_in(b"license=GPL\0depends=\0").is_empty());
    }
}
