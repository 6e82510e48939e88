//! The check that no two files of a crate use each other, directly or over others.
//!
//! A file uses another if a path in it (in a `use`, in code, in a macro's arguments) names an
//! item that the other one defines. `mod` and `pub use` are no uses: a folder's `mod.rs` may
//! declare and re-export its children, and they may use what it defines, as long as it does
//! not use them in turn. Unit tests may use anything, since nothing uses them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

use super::files;

type Sources = BTreeMap<PathBuf, syn::File>;
/// From file to file, with a path that stands in the first one.
type Uses = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// A meaning of a name in a module.
enum Name {
    Module(usize),
    Item,
    Import(Vec<String>),
}

struct Module {
    file: PathBuf,
    parent: Option<usize>,
    names: BTreeMap<String, Vec<Name>>,
    globs: Vec<Vec<String>>,
    items: Vec<Item>,
}

/// The modules of one crate; the first is its root.
#[derive(Default)]
struct Crate {
    modules: Vec<Module>,
}

/// The file of `mod NAME;` in `parent`, by the compiler's rules. A crate's root may have any name.
fn child(sources: &Sources, parent: &Path, item: &ItemMod) -> Option<PathBuf> {
    let folder = parent.parent().unwrap_or(Path::new(""));
    let attribute = item.attrs.iter().find(|a| a.path().is_ident("path"));
    if let Some(attribute) = attribute
        && let Ok(value) = attribute.meta.require_name_value()
        && let syn::Expr::Lit(literal) = &value.value
        && let syn::Lit::Str(path) = &literal.lit
    {
        let mut file = folder.to_owned();
        for part in Path::new(&path.value()) {
            if part == ".." { _ = file.pop() } else { file.push(part) }
        }
        return Some(file);
    }
    let name = item.ident.to_string();
    let below = parent.with_extension("");
    [below.as_path(), folder]
        .into_iter()
        .flat_map(|folder| [folder.join(&name).with_extension("rs"), folder.join(&name).join("mod.rs")])
        .find(|file| sources.contains_key(file))
}

impl Crate {
    fn load(sources: &Sources, root: &Path) -> Self {
        let mut krate = Self::default();
        krate.add_file(sources, root, None);
        krate
    }

    fn add_file(&mut self, sources: &Sources, file: &Path, parent: Option<usize>) -> usize {
        self.add(sources, file, parent, &sources[file].items)
    }

    fn add(&mut self, sources: &Sources, file: &Path, parent: Option<usize>, items: &[Item]) -> usize {
        let id = self.modules.len();
        let (names, globs) = (BTreeMap::new(), vec![]);
        self.modules.push(Module { file: file.to_owned(), parent, names, globs, items: vec![] });
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(inner) => {
                    let module = match &inner.content {
                        Some((_, items)) => Some(self.add(sources, file, Some(id), items)),
                        None => child(sources, file, inner).map(|f| self.add_file(sources, &f, Some(id))),
                    };
                    let module = module.map(Name::Module);
                    self.modules[id].names.entry(inner.ident.to_string()).or_default().extend(module);
                }
                Item::Use(import) => {
                    for (path, name) in flatten(import) {
                        match name {
                            Some(name) => self.name(id, name, Name::Import(path)),
                            None => self.modules[id].globs.push(path),
                        }
                    }
                }
                Item::ForeignMod(block) => {
                    for item in &block.items {
                        match item {
                            syn::ForeignItem::Fn(f) => self.name(id, f.sig.ident.to_string(), Name::Item),
                            syn::ForeignItem::Static(s) => self.name(id, s.ident.to_string(), Name::Item),
                            _ => {}
                        }
                    }
                }
                item => {
                    if let Some(name) = defined(item) {
                        self.name(id, name, Name::Item);
                    }
                }
            }
        }
        self.modules[id].items = items.to_vec();
        id
    }

    fn name(&mut self, module: usize, name: String, meaning: Name) {
        self.modules[module].names.entry(name).or_default().push(meaning);
    }

    /// The module that defines the item which `path` names in `module`; `None` for a module
    /// and for what other crates define.
    fn owner(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        const NAMES_ITSELF: usize = 16;
        let mut at = module;
        for (index, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                name => {
                    if depth > NAMES_ITSELF {
                        return None;
                    }
                    let rest = &path[index + 1..];
                    let names = self.modules[at].names.get(name).map_or(&[][..], Vec::as_slice);
                    let inner =
                        names.iter().find_map(|n| if let Name::Module(m) = n { Some(*m) } else { None });
                    if names.iter().any(|n| matches!(n, Name::Item)) && (inner.is_none() || rest.is_empty()) {
                        return Some(at);
                    }
                    if let Some(inner) = inner {
                        at = inner;
                        continue;
                    }
                    if let Some(Name::Import(target)) = names.first() {
                        return self.owner(at, &[target, rest].concat(), depth + 1);
                    }
                    let through_a_glob = self.modules[at]
                        .globs
                        .iter()
                        .find_map(|glob| self.owner(at, &[glob, &path[index..]].concat(), depth + 1));
                    // A name of no known meaning, made by a macro for instance.
                    return through_a_glob.or((index > 0 && depth == 0).then_some(at));
                }
            }
        }
        None
    }

    fn uses(&self, uses: &mut Uses) {
        for id in 0..self.modules.len() {
            let mut visitor = Visitor { krate: self, module: id, uses };
            self.modules[id].items.iter().for_each(|item| visitor.visit_item(item));
        }
    }
}

fn is_test(item: &ItemMod) -> bool {
    let is_test = |list: &syn::MetaList| list.path.is_ident("cfg") && list.tokens.to_string() == "test";
    item.attrs.iter().any(|attribute| attribute.meta.require_list().is_ok_and(is_test))
}

fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::Type(i) => &i.ident,
        Item::Union(i) => &i.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The paths of a `use`, and the name that each gets; none for a glob.
fn flatten(import: &ItemUse) -> Vec<(Vec<String>, Option<String>)> {
    fn walk(tree: &UseTree, path: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) {
        let with = |ident: &syn::Ident| [path, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(inner) => walk(&inner.tree, &with(&inner.ident), found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path, found)),
            UseTree::Glob(_) => found.push((path.to_vec(), None)),
            UseTree::Name(name) if name.ident == "self" => found.push((path.to_vec(), path.last().cloned())),
            UseTree::Name(name) => found.push((with(&name.ident), Some(name.ident.to_string()))),
            UseTree::Rename(name) if name.ident == "self" => {
                found.push((path.to_vec(), Some(name.rename.to_string())));
            }
            UseTree::Rename(name) => found.push((with(&name.ident), Some(name.rename.to_string()))),
        }
    }
    let mut found = Vec::new();
    if import.leading_colon.is_none() {
        walk(&import.tree, &[], &mut found);
    }
    found
}

struct Visitor<'a> {
    krate: &'a Crate,
    module: usize,
    uses: &'a mut Uses,
}

impl Visitor<'_> {
    fn path(&mut self, path: &[String]) {
        let Some(owner) = self.krate.owner(self.module, path, 0) else { return };
        let (from, to) = (&self.krate.modules[self.module].file, &self.krate.modules[owner].file);
        if from != to {
            let uses = self.uses.entry(from.clone()).or_default();
            uses.entry(to.clone()).or_insert_with(|| path.join("::"));
        }
    }
}

impl Visit<'_> for Visitor<'_> {
    fn visit_item_mod(&mut self, _: &ItemMod) {
        // Each module is visited by itself.
    }

    fn visit_item_use(&mut self, import: &ItemUse) {
        if !matches!(import.vis, Visibility::Inherited) {
            return;
        }
        for (mut path, name) in flatten(import) {
            if name.is_none() {
                // Any name that the module does not have stands for the module.
                path.push("*".to_owned());
            }
            self.path(&path);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.path(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        for path in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            if path.contains("::") && !path.starts_with("::") {
                self.path(&path.split("::").map(str::to_owned).collect::<Vec<_>>());
            }
        }
        visit::visit_macro(self, call);
    }
}

/// Every file's uses, over all crates: a file that no other one declares is a crate's root.
fn uses(sources: &Sources) -> Uses {
    let mut roots: BTreeSet<&PathBuf> = sources.keys().collect();
    let crates: Vec<_> = sources.keys().map(|file| (file, Crate::load(sources, file))).collect();
    for (file, krate) in &crates {
        krate
            .modules
            .iter()
            .filter(|module| module.file != **file)
            .for_each(|module| _ = roots.remove(&module.file));
    }
    let mut uses = Uses::new();
    crates.iter().filter(|(file, _)| roots.contains(file)).for_each(|(_, krate)| krate.uses(&mut uses));
    uses
}

/// The shortest way along `uses` from `start` back to it.
fn circle<'a>(uses: &'a Uses, start: &'a PathBuf) -> Option<Vec<&'a PathBuf>> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if before.contains_key(next) {
                continue;
            }
            before.insert(next, file);
            if next == start {
                let mut circle = vec![file];
                while circle.last() != Some(&start) {
                    circle.push(before[circle[circle.len() - 1]]);
                }
                circle.reverse();
                return Some(circle);
            }
            queue.push_back(next);
        }
    }
    None
}

/// Circles that have no use in common, shortest first, each as a line to read.
fn circles(mut uses: Uses) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(circle) = uses.keys().filter_map(|file| circle(&uses, file)).min_by_key(Vec::len) {
        let circle: Vec<_> = circle.into_iter().cloned().collect();
        let mut text = String::new();
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            let path = uses.get_mut(from).and_then(|targets| targets.remove(to)).unwrap_or_default();
            text += &format!("{} uses {path} of ", from.display());
        }
        found.push(text + &circle[0].display().to_string());
    }
    found
}

#[test]
fn no_two_files_use_each_other() {
    let parse = |(file, text): (PathBuf, String)| match syn::parse_file(&text) {
        Ok(parsed) => (file, parsed),
        Err(error) => panic!("{}: {error}", file.display()),
    };
    let circles = circles(uses(&files("rs").into_iter().map(parse).collect()));
    let list = circles.join("\n");
    assert!(circles.is_empty(), "{} circle(s): move what both need below both\n{list}", circles.len());
}

/// The files of a crate, by name and text.
fn sources(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(file, text)| (file.into(), syn::parse_file(text).expect("Rust"))).collect()
}

#[test]
fn circles_are_found_over_imports_paths_macros_and_parents() {
    let of = |a: &str, b: &str| {
        let root = ("src/lib.rs", "mod a; mod b; pub use a::A;");
        circles(uses(&sources(&[root, ("src/a.rs", a), ("src/b/mod.rs", b)]))).len()
    };
    let (a, b) = ("use crate::b::B; pub struct A(B);", "pub struct B;");
    assert_eq!(of(a, b), 0);
    assert_eq!(of(a, "pub struct B; fn f() { super::a::g() }"), 1);
    assert_eq!(of(a, "use super::A; pub struct B(Option<A>);"), 1, "over a re-export");
    assert_eq!(of(a, "use crate::a; pub struct B; fn f(_: a::A) {}"), 1, "over a module's name");
    assert_eq!(of(a, "use crate::a::{*}; pub struct B;"), 1);
    assert_eq!(of(a, "pub struct B; fn f() { println!(\"{}\", crate::a::A) }"), 1);
    assert_eq!(of(a, "use crate::a; pub struct B;"), 0, "a module's name alone");
    assert_eq!(of(a, "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"), 0, "a unit test");

    let parent = |root: &str| {
        circles(uses(&sources(&[("src/main.rs", root), ("src/a.rs", "use super::X; pub struct A(X);")])))
            .len()
    };
    assert_eq!(parent("mod a; pub use a::A; struct X;"), 0);
    assert_eq!(parent("mod a; use a::A; struct X;"), 1);
    assert_eq!(parent("mod a; pub use a::A; struct X; fn f(_: A) {}"), 1);
    assert_eq!(parent("mod a; struct X; fn f() { a::g() }"), 1);
}
