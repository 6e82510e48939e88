//! Checks of the documents: links, paths and names of tests in them exist.

use std::collections::BTreeMap;
use std::path::Path;

use super::{files, root};

/// The longest README that a newcomer reads to its end.
const README_LINES: usize = 150;
/// The top folders: a code span that begins with one and a slash is a path.
const FOLDERS: [&str; 6] = ["apf-service", "docs", "images", "tests", "unikernel", "xtask"];

/// The texts between single backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of links in a line, as in `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// `a/{b,c}` as `a/b` and `a/c`; any other path as it is.
fn alternatives(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (list, after))) => list.split(',').map(|one| format!("{before}{one}{after}")).collect(),
        None => vec![path.to_owned()],
    }
}

/// Returns whether a code span is the path of a file of the tree, and no command or pattern.
fn is_path(span: &str) -> bool {
    let named = span.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first));
    named && !span.contains(|c: char| c.is_whitespace() || "<>*…:=".contains(c))
}

#[test]
fn documents_link_and_name_only_files_that_exist() {
    let mut missing = Vec::new();
    for (document, text) in files("md") {
        let folder = root().join(&document);
        let folder = folder.parent().unwrap_or(root());
        for (number, line) in text.lines().enumerate() {
            let mut need = |path: &Path, named: &str| {
                if !path.exists() {
                    missing.push(format!("{}:{}: {named}", document.display(), number + 1));
                }
            };
            for link in links(line).filter(|link| !link.contains("://")) {
                let file = link.split('#').next().unwrap_or_default();
                need(&folder.join(file), link);
            }
            for path in code_spans(line).filter(|span| is_path(span)).flat_map(alternatives) {
                need(&root().join(&path), &path);
            }
        }
    }
    assert!(missing.is_empty(), "these are not there:\n{}", missing.join("\n"));
}

#[test]
fn readme_is_short() {
    let lines = files("md")[Path::new("README.md")].lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; {README_LINES} are allowed");
}

/// A word by which the table of features names tests, and the tests that it can name.
struct Suite {
    folder: String,
    names: Vec<String>,
}

impl Suite {
    /// The tests below `folder`, or the guest's checks, which are strings in a table.
    fn read(folder: &str, sources: &BTreeMap<std::path::PathBuf, String>) -> Self {
        let mut names = Vec::new();
        for text in sources.iter().filter(|(file, _)| file.starts_with(folder)).map(|(_, text)| text) {
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if let Some((_, rest)) = line.split_once("fn ") {
                    names.extend(rest.split('(').next().filter(|_| is_test).map(str::to_owned));
                    is_test = false;
                } else {
                    is_test |= line == "#[test]";
                }
                // Entries of a table of checks: ("name", run),
                let entries = line.split("(\"").skip(1).filter_map(|entry| entry.split_once("\", "));
                names.extend(entries.map(|(name, _)| name.to_owned()));
            }
        }
        Self { folder: folder.to_owned(), names }
    }
}

/// The defects of a feature's last cell: `SUITE: tests; measured: command; open: gap`.
fn faults(cell: &str, suites: &BTreeMap<String, Suite>) -> Vec<String> {
    let mut faults = Vec::new();
    for part in cell.split(';').map(str::trim) {
        let (word, rest) = part.split_once(':').unwrap_or((part, ""));
        match (word, suites.get(word)) {
            ("open", _) => {}
            ("measured", _) if rest.trim().starts_with("`cargo xtask ") => {}
            (_, Some(suite)) => {
                let names: Vec<_> = code_spans(rest).collect();
                if names.is_empty() {
                    faults.push(format!("`{part}` names no test"));
                }
                let unknown = names.iter().filter(|name| !suite.names.iter().any(|known| known == *name));
                faults.extend(unknown.map(|name| format!("{} has no test `{name}`", suite.folder)));
            }
            _ => faults.push(format!("`{part}` is neither `SUITE: tests`, `measured: command` nor `open`")),
        }
    }
    faults
}

/// Returns whether a row's first cell numbers a feature: `S1`, `N10a`.
fn is_feature(number: &str) -> bool {
    number.starts_with(|c: char| c.is_ascii_uppercase())
        && number[1..].starts_with(|c: char| c.is_ascii_digit())
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

#[test]
fn every_feature_names_tests_that_exist() {
    let sources = files("rs");
    let features = &files("md")[Path::new("docs/features.md")];
    let rows =
        || features.lines().filter_map(cells).filter(|row| row.len() == 3 && !row[0].starts_with("---"));
    let suites: BTreeMap<_, _> = rows()
        .filter_map(|row| Some((row[0].to_owned(), Suite::read(code_spans(row[1]).next()?, &sources))))
        .filter(|(_, suite)| root().join(&suite.folder).is_dir())
        .collect();
    let features: Vec<_> = rows().filter(|row| is_feature(row[0])).collect();
    assert!(suites.len() > 5 && features.len() > 25, "{} suites, {} features", suites.len(), features.len());
    let wrong: Vec<_> = features
        .iter()
        .flat_map(|row| faults(row[2], &suites).into_iter().map(|fault| format!("{}: {fault}", row[0])))
        .collect();
    assert!(wrong.is_empty(), "docs/features.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_row_that_shows_nothing_is_noticed() {
    let suite = Suite { folder: "tests".to_owned(), names: vec!["a_test".to_owned()] };
    let suites = BTreeMap::from([("VM".to_owned(), suite)]);
    let count = |cell| faults(cell, &suites).len();
    assert_eq!(count("VM: `a_test`; measured: `cargo xtask experiment run sweep`; open: the rest"), 0);
    assert_eq!(count("VM: `a_test`, `a_tes`"), 1);
    assert_eq!(
        (count("VM: all"), count("host: `a_test`"), count("measured: it is fast"), count("")),
        (1, 1, 1, 1)
    );
    let spans: Vec<_> =
        ["xtask/src/{a,b}.rs", "xtask/src", "cargo xtask/run", "docs/NNNN-…"].map(is_path).into();
    assert_eq!(spans, [true, true, false, false]);
    assert_eq!(alternatives("xtask/src/{a,b}.rs"), ["xtask/src/a.rs", "xtask/src/b.rs"]);
}
