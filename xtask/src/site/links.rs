//! Links of a folder of pages: the files and places that they name are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Folders whose links their own maker checks: rustdoc's.
const SKIPPED: [&str; 1] = ["api"];

/// Checks all links between the pages below `site`, and returns their number. Addresses on the
/// network are not visited.
///
/// # Errors
/// Names each link that leads nowhere.
pub fn check(site: &Path) -> Result<usize> {
    let mut pages = BTreeMap::new();
    read(site, &mut pages)?;
    let places: BTreeMap<_, BTreeSet<_>> =
        pages.iter().map(|(page, text)| (page, values(text, &["id", "name"]).collect())).collect();
    let (mut count, mut dead) = (0, Vec::new());
    for (page, text) in &pages {
        for link in values(text, &["href", "src"]).filter(|link| !is_elsewhere(link)) {
            count += 1;
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let path = path.split('?').next().unwrap_or_default();
            let file = if path.is_empty() { page.clone() } else { resolve(page, path) };
            let found = match places.get(&file) {
                Some(places) => place.is_empty() || places.contains(place),
                None => file.is_file(),
            };
            if !found {
                dead.push(format!("{}: {link}", page.strip_prefix(site).unwrap_or(page).display()));
            }
        }
    }
    ensure!(dead.is_empty(), "links of the site lead nowhere:\n{}", dead.join("\n"));
    Ok(count)
}

fn read(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !SKIPPED.iter().any(|name| path.ends_with(name)) {
                read(&path, pages)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            pages.insert(path, text);
        }
    }
    Ok(())
}

/// The values of attributes with these names in a page.
fn values<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(move |name| {
        let start = format!(" {name}=\"");
        let found: Vec<_> = text.match_indices(&start).map(|(at, _)| &text[at + start.len()..]).collect();
        found.into_iter().filter_map(|rest| rest.split_once('"').map(|(value, _)| value))
    })
}

fn is_elsewhere(link: &str) -> bool {
    // A colon before any slash ends a scheme: https:, data:, javascript:.
    link.split('/').next().is_some_and(|first| first.contains(':'))
}

fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    if link.ends_with('/') { path.join("index.html") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_missing_page_or_place_is_an_error_that_names_it() {
        let scratch = crate::dirs::scratch("links-test").unwrap();
        let site = scratch.path();
        fs::create_dir(site.join("a")).unwrap();
        let first = "<h1 id=\"top\"><a href=\"a/b.html#there\"></a><a href=\"#top\"></a><img src=\"p.svg?v=1\">\
                     <a href=\"https://example.org/x\"></a>";
        fs::write(site.join("index.html"), first).unwrap();
        fs::write(site.join("p.svg"), "").unwrap();
        fs::write(site.join("a/b.html"), "<p id=\"there\"><a href=\"../\"></a>").unwrap();
        assert_eq!(check(site).unwrap(), 4);
        fs::write(site.join("a/b.html"), "<p id=\"here\"><a href=\"../c.html\"></a>").unwrap();
        let error = check(site).unwrap_err().to_string();
        assert!(
            error.contains("index.html: a/b.html#there") && error.contains("a/b.html: ../c.html"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 3, "{error}");
    }
}
