//! The check that no two files of a crate use each other, directly or over others.
//!
//! A file uses another if a path in it (in a `use`, in code, in a macro's arguments) names an
//! item that the other one defines. `mod` and `pub use` of a name are no uses: a folder's `mod.rs`
//! may declare and re-export its children, and they may use what it defines, as long as it does
//! not use them in turn. Unit tests may use anything, since nothing uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

use super::files;

type Sources = BTreeMap<PathBuf, syn::File>;
/// From file to file, with a path that stands in the first one.
type Uses = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

struct Module<'a> {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Imported names, and the path of each.
    imports: BTreeMap<String, Vec<String>>,
    items: &'a [Item],
}

/// The modules of one crate; the first is its root.
#[derive(Default)]
struct Crate<'a>(Vec<Module<'a>>);

/// The file of `mod NAME;` in `parent`. A crate's root may have any name.
fn child<'a>(sources: &'a Sources, parent: &Path, name: &str) -> Option<(&'a PathBuf, &'a syn::File)> {
    let folders = [parent.with_extension(""), parent.parent().unwrap_or(Path::new("")).to_owned()];
    let files = folders.iter().flat_map(|f| [f.join(name).with_extension("rs"), f.join(name).join("mod.rs")]);
    files.into_iter().find_map(|file| sources.get_key_value(&file))
}

impl<'a> Crate<'a> {
    fn load(sources: &'a Sources, root: &Path) -> Self {
        let mut krate = Self::default();
        krate.add(sources, root, None, &sources[root].items);
        krate
    }

    /// Adds a module and those within it.
    fn add(&mut self, sources: &'a Sources, file: &Path, parent: Option<usize>, items: &'a [Item]) -> usize {
        let id = self.0.len();
        let (children, imports) = (BTreeMap::new(), BTreeMap::new());
        self.0.push(Module { file: file.to_owned(), parent, children, imports, items });
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(inner) => {
                    let name = inner.ident.to_string();
                    let child = match (&inner.content, child(sources, file, &name)) {
                        (Some((_, items)), _) => self.add(sources, file, Some(id), items),
                        (None, Some((file, parsed))) => self.add(sources, file, Some(id), &parsed.items),
                        (None, None) => continue,
                    };
                    self.0[id].children.insert(name, child);
                }
                Item::Use(import) => self.0[id].imports.extend(flatten(import)),
                _ => {}
            }
        }
        id
    }

    /// The module that defines the item which `path` names in the module `at`; `None` for a
    /// module and for what other crates define.
    fn owner(&self, mut at: usize, path: &[String], depth: usize) -> Option<usize> {
        const NAMES_ITSELF: usize = 16;
        for (index, segment) in path.iter().enumerate() {
            let module = &self.0[at];
            at = match segment.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => module.parent?,
                name => match (module.children.get(name), module.imports.get(name)) {
                    (Some(child), _) => *child,
                    (None, Some(target)) if depth < NAMES_ITSELF => {
                        return self.owner(at, &[target, &path[index + 1..]].concat(), depth + 1);
                    }
                    _ => return (index > 0).then_some(at),
                },
            };
        }
        None
    }
}

fn is_test(item: &ItemMod) -> bool {
    let is_test = |list: &syn::MetaList| list.path.is_ident("cfg") && list.tokens.to_string() == "test";
    item.attrs.iter().any(|attribute| attribute.meta.require_list().is_ok_and(is_test))
}

/// The names that a `use` makes, and the path of each; `*` for a glob.
fn flatten(import: &ItemUse) -> Vec<(String, Vec<String>)> {
    fn walk(tree: &UseTree, path: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let mut add = |name: &dyn ToString, end: String| match end.as_str() {
            "self" => found.push((path.last().cloned().unwrap_or_default(), path.to_vec())),
            _ => found.push((name.to_string(), [path, &[end]].concat())),
        };
        match tree {
            UseTree::Path(inner) => walk(&inner.tree, &[path, &[inner.ident.to_string()]].concat(), found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path, found)),
            UseTree::Glob(_) => add(&"*", "*".to_owned()),
            UseTree::Name(name) => add(&name.ident, name.ident.to_string()),
            UseTree::Rename(name) => add(&name.rename, name.ident.to_string()),
        }
    }
    let mut found = Vec::new();
    if import.leading_colon.is_none() {
        walk(&import.tree, &[], &mut found);
    }
    found
}

struct Visitor<'a> {
    krate: &'a Crate<'a>,
    module: usize,
    uses: &'a mut Uses,
}

impl Visitor<'_> {
    fn path(&mut self, path: &[String]) {
        let Some(owner) = self.krate.owner(self.module, path, 0) else { return };
        let (from, to) = (&self.krate.0[self.module].file, &self.krate.0[owner].file);
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
        let is_private = matches!(import.vis, Visibility::Inherited);
        // The names of a glob are not known, so it stands for its module, re-exported or not.
        for (_, path) in flatten(import).iter().filter(|(name, _)| is_private || name == "*") {
            self.path(path);
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
    let crates: Vec<_> = sources.keys().map(|file| (file, Crate::load(sources, file))).collect();
    let declared = crates
        .iter()
        .flat_map(|(root, krate)| krate.0.iter().map(|module| &module.file).filter(move |file| file != root));
    let declared: BTreeSet<_> = declared.collect();
    let mut uses = Uses::new();
    for (_, krate) in crates.iter().filter(|(file, _)| !declared.contains(file)) {
        for (module, Module { items, .. }) in krate.0.iter().enumerate() {
            let mut visitor = Visitor { krate, module, uses: &mut uses };
            items.iter().for_each(|item| visitor.visit_item(item));
        }
    }
    uses
}

/// Returns whether a file uses another, directly or over others.
fn reaches(uses: &Uses, from: &PathBuf, to: &PathBuf) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(uses.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    seen.contains(to)
}

/// The uses that are part of a circle, each as a line to read.
fn circular(uses: &Uses) -> Vec<String> {
    let all = uses.iter().flat_map(|(from, targets)| targets.iter().map(move |(to, path)| (from, to, path)));
    all.filter(|(from, to, _)| reaches(uses, to, from))
        .map(|(from, to, path)| format!("{} uses {path} of {}", from.display(), to.display()))
        .collect()
}

#[test]
fn no_two_files_use_each_other() {
    let parse = |(file, text): (PathBuf, String)| match syn::parse_file(&text) {
        Ok(parsed) => (file, parsed),
        Err(error) => panic!("{}: {error}", file.display()),
    };
    let uses = circular(&uses(&files("rs").into_iter().map(parse).collect()));
    assert!(uses.is_empty(), "circles of files: move what both need below both\n{}", uses.join("\n"));
}

/// Number of circular uses of a crate's files, given by name and text.
fn count(files: &[(&str, &str)]) -> usize {
    let parse = |(file, text): &(&str, &str)| (file.into(), syn::parse_file(text).expect("Rust"));
    circular(&uses(&files.iter().map(parse).collect())).len()
}

#[test]
fn circles_are_found_over_imports_paths_macros_and_parents() {
    let of = |a: &str, b: &str| {
        count(&[("src/lib.rs", "mod a; mod b; pub use a::A;"), ("src/a.rs", a), ("src/b/mod.rs", b)])
    };
    let (a, b) = ("use crate::b::B; pub struct A(B);", "pub struct B;");
    assert_eq!(of(a, b), 0);
    assert_eq!(of(a, "pub struct B; fn f() { super::a::g() }"), 2);
    assert_eq!(of(a, "use super::A; pub struct B(Option<A>);"), 2, "over a re-export");
    assert_eq!(of(a, "use crate::a; pub struct B; fn f(_: a::A) {}"), 2, "over a module's name");
    assert_eq!(of(a, "use crate::a::{*}; pub struct B;"), 2);
    assert_eq!(of(a, "pub struct B; fn f() { println!(\"{}\", crate::a::A) }"), 2);
    assert_eq!(of(a, "use crate::a; pub struct B;"), 0, "a module's name alone");
    assert_eq!(of(a, "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"), 0, "a unit test");

    let parent = |root: &str| count(&[("src/main.rs", root), ("src/a.rs", "use super::X; pub struct A(X);")]);
    assert_eq!(parent("mod a; pub use a::A; struct X;"), 0);
    assert_eq!(parent("mod a; use a::A; struct X;"), 2);
    assert_eq!(parent("mod a; pub use a::A; struct X; fn f(_: A) {}"), 2);
    assert_eq!(parent("mod a; struct X; fn f() { a::g() }"), 2);
}
