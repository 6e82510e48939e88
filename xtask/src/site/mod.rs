//! `cargo xtask site`: the documents as a web site, by mdBook.
//!
//! - [`links`]: links that lead nowhere
//!
//! The pages are the repository's own documents, those that `docs/SUMMARY.md` lists, at the same
//! paths. So a link between documents works in both.

mod links;

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use apf_report::{Report, html};
use clap::Args;

use crate::draw::document_of;
use crate::process::{Cmd, build_cargo};
use crate::setup::program::MDBOOK;
use crate::test::PUBLISHED;
use crate::{dirs, output};

/// The list of pages.
const SUMMARY: &str = "docs/SUMMARY.md";
/// The page that this program writes: it links to what the repository does not have.
const GENERATED: &str = "generated.md";

/// `cargo xtask site`
#[derive(Debug, Args)]
pub struct SiteArgs {
    /// Experiments' documents to show [default: an invented example]
    #[arg(long, value_name = "DIR|FILE")]
    report: Vec<PathBuf>,
    /// Folder of the site [default: target/apf/site]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes the site and checks its links.
///
/// # Errors
/// A listed document or a report is missing, mdBook fails, or a link leads nowhere; the last
/// error names the links.
pub fn run(args: &SiteArgs) -> Result<()> {
    let mdbook = MDBOOK.ensure()?;
    let site = args.out.clone().unwrap_or_else(|| dirs::apf().join("site"));
    output::own_folder(&site)?;
    let summary = fs::read_to_string(dirs::root().join(SUMMARY)).context(SUMMARY)?;

    let book = dirs::scratch("site")?;
    let pages = book.path().join("src");
    for page in targets(&summary) {
        copy(&dirs::root().join(&page), &pages.join(&page))?;
    }
    let examples = reports(&args.report)?;
    write(&pages.join(GENERATED), generated(&examples, args.report.is_empty()).as_bytes())?;
    write(&pages.join("SUMMARY.md"), from_the_top(&summary).as_bytes())?;
    for settings in ["book.toml", "site.css"] {
        copy(&dirs::root().join("docs").join(settings), &book.path().join(settings))?;
    }
    let made = book.path().join("book");
    Cmd::new(mdbook).arg("build").arg(book.path()).doing("making the pages").logged(&dirs::log("site")?)?;
    for (folder, page) in &examples {
        write(&made.join("reports").join(folder).join("report.html"), page.as_bytes())?;
    }
    crates(&made.join("api"))?;
    let count = links::check(&made)?;
    // All is well: replace an earlier site.
    fs::remove_dir_all(&site).with_context(|| format!("cannot remove {}", site.display()))?;
    output::own_folder(&site)?;
    copy_all(&made, &site)?;
    println!("site: {}, {count} links checked", site.join("index.html").display());
    Ok(())
}

/// The documentation of the published crates, made in a folder of its own: that of a user's
/// `cargo doc` has other crates as well.
fn crates(to: &Path) -> Result<()> {
    let build = dirs::sub("site-doc")?;
    let packages = PUBLISHED.into_iter().flat_map(|name| ["--package", name]);
    build_cargo()
        .args(["doc", "--locked", "--no-deps", "--target-dir"])
        .arg(&build)
        .args(packages)
        .cwd(dirs::root())
        .doing("making the crates' documentation")
        .logged(&dirs::log("site-doc")?)?;
    copy_all(&build.join("doc"), to)
}

/// Names and pages of reports: of the documents named, or of the tests' invented one.
fn reports(places: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let invented = [dirs::root().join("tests/data/made-up.json")];
    let places = if places.is_empty() { &invented[..] } else { places };
    let mut pages: Vec<(String, String)> = Vec::new();
    for place in places {
        let report = Report::read(&document_of(place))?;
        let name = report.experiment.name.clone();
        ensure!(!pages.iter().any(|(known, _)| *known == name), "two reports are of the experiment {name}");
        pages.push((name, html::page(&report)));
    }
    Ok(pages)
}

/// The page with links to the crates' documentation and the reports.
fn generated(examples: &[(String, String)], invented: bool) -> String {
    let crates = PUBLISHED.map(|name| format!("- [{name}](api/{}/index.html)\n", name.replace('-', "_")));
    let reports = examples.iter().map(|(name, _)| format!("- [{name}](reports/{name}/report.html)\n"));
    let origin = if invented {
        "A report as `cargo xtask report` draws it, of an invented document: none of its figures was measured."
    } else {
        "Reports of experiments, drawn by `cargo xtask report`:"
    };
    format!(
        "# Crates and reports\n\nThe crates' documentation:\n\n{}\n{origin}\n\n{}",
        crates.concat(),
        reports.collect::<String>()
    )
}

/// Splits a line of the summary around its link's target.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let start = line.find("](")? + 2;
    let end = start + line[start..].find(')')?;
    Some((&line[..start], &line[start..end], &line[end..]))
}

/// A path relative to the summary's folder as one from the repository's top.
fn from_top(target: &str) -> PathBuf {
    let mut path = Path::new(SUMMARY).parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    path
}

/// The documents that the summary lists, by their paths from the repository's top.
fn targets(summary: &str) -> impl Iterator<Item = PathBuf> {
    summary.lines().filter_map(split).map(|(_, target, _)| from_top(target))
}

/// The summary with paths from the repository's top, and the generated page at its end.
fn from_the_top(summary: &str) -> String {
    let line = |line: &str| match split(line) {
        Some((before, target, after)) => format!("{before}{}{after}\n", from_top(target).display()),
        None => format!("{line}\n"),
    };
    summary.lines().map(line).collect::<String>() + &format!("- [Crates and reports]({GENERATED})\n")
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &bytes)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()? {
            kind if kind.is_dir() => copy_all(&from, &to)?,
            kind if kind.is_file() => copy(&from, &to)?,
            _ => bail!("{} is neither a file nor a folder", from.display()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_its_pages_from_the_top() {
        let summary = "# Summary\n\n- [Try it](../README.md)\n  - [Lab](adr/../lab.md)\n---\n";
        let pages: Vec<_> = targets(summary).collect();
        assert_eq!(pages, [Path::new("README.md"), Path::new("docs/lab.md")]);
        let text = from_the_top(summary);
        assert!(text.starts_with("# Summary\n\n- [Try it](README.md)\n  - [Lab](docs/lab.md)\n---\n"));
        assert!(text.ends_with("(generated.md)\n"));
    }

    #[test]
    fn every_document_is_a_page_of_the_site() {
        let root = dirs::root();
        let summary = fs::read_to_string(root.join(SUMMARY)).unwrap();
        let pages: Vec<_> = targets(&summary).collect();
        for page in &pages {
            assert!(root.join(page).is_file(), "{SUMMARY} lists {}, which is not there", page.display());
        }
        let folders = ["", "docs", "docs/adr", "docs/results", "docs/upstream", "images/kernel"];
        let files = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
        let files = files.map(|entry| entry.unwrap().path().strip_prefix(&root).unwrap().to_owned());
        let missing: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
            .filter(|file| file != Path::new(SUMMARY) && !pages.contains(file))
            .collect();
        assert!(missing.is_empty(), "{SUMMARY} does not list {missing:?}");
    }
}
