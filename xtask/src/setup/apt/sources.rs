//! apt's sources: the mirror that serves the release, and further suites of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Cmd;
use crate::versions::VERSIONS;

/// The folder for the file that adds a suite.
const DIR: &str = "/etc/apt/sources.list.d";

/// A line to be added to apt's sources.
pub struct Source {
    pub file: PathBuf,
    pub line: String,
}

/// Returns the line that adds the suite `suite`, which has `package`, from the mirror that
/// serves the release; `None` if apt knows the suite.
///
/// # Errors
/// apt has no mirror for the release.
pub fn missing(suite: &str, package: &str) -> Result<Option<Source>> {
    let known = Cmd::new("apt-cache").args(["madison", package]).quiet().output()?.stdout;
    if known.lines().any(|line| line.contains(suite)) {
        return Ok(None);
    }
    let texts = texts();
    if texts.iter().any(|text| has_suite(text, suite)) {
        // Configured but not yet read; `apt-get update` reads it.
        return Ok(None);
    }
    Ok(Some(Source { file: Path::new(DIR).join(format!("{suite}.list")), line: line("deb", &texts, suite)? }))
}

/// Returns the line for a suite's packages of this kind, `deb` or `deb-src`.
pub fn line_for(kind: &str, suite: &str) -> Result<String> {
    line(kind, &texts(), suite)
}

fn texts() -> Vec<String> {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    for entry in fs::read_dir(DIR).into_iter().flatten().filter_map(Result::ok) {
        texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
    }
    texts
}

/// Makes a line for a suite of the mirror that serves the release.
fn line(kind: &str, texts: &[String], suite: &str) -> Result<String> {
    let codename = &VERSIONS.debian.codename;
    let (mirror, key) = texts.iter().find_map(|text| mirror_of(text, codename)).with_context(|| {
        format!("apt has no source for {codename} main, so {suite} cannot be added: please add it to {DIR}")
    })?;
    let options = key.map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
    Ok(format!("{kind} {options}{mirror} {suite} main"))
}

/// Returns whether a sources file names the suite outside comments.
fn has_suite(text: &str, suite: &str) -> bool {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(str::split_whitespace).any(|word| word == suite)
}

/// Finds a suite's mirror and its key file in a sources file of either format.
fn mirror_of(text: &str, suite: &str) -> Option<(String, Option<String>)> {
    let lines: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n");
    for stanza in lines.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        if let (Some(uris), Some(suites)) = (field("URIs"), field("Suites"))
            && suites.split_whitespace().any(|word| word == suite)
        {
            let key = field("Signed-By").filter(|key| key.starts_with('/'));
            return Some((uris.split_whitespace().next()?.to_owned(), key));
        }
        for line in stanza.lines().filter_map(|line| line.strip_prefix("deb ")) {
            let (options, rest) =
                match line.trim_start().strip_prefix('[').and_then(|line| line.split_once(']')) {
                    Some((options, rest)) => (options, rest),
                    None => ("", line),
                };
            let mut words = rest.split_whitespace();
            if let (Some(uri), Some(word)) = (words.next(), words.next())
                && word == suite
            {
                let key = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
                return Some((uri.to_owned(), key.map(str::to_owned)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_both_formats() {
        let old =
            "# deb http://no/ bookworm main\ndeb [signed-by=/k.gpg] http://m/debian bookworm main contrib\n";
        assert_eq!(mirror_of(old, "bookworm"), Some(("http://m/debian".into(), Some("/k.gpg".into()))));
        let new = "Types: deb\nURIs: http://m/debian-security\nSuites: bookworm-security\n\n\
                   Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nSigned-By: /k.gpg\n";
        assert_eq!(mirror_of(new, "bookworm"), Some(("http://m/debian".into(), Some("/k.gpg".into()))));
        assert_eq!(mirror_of(new, "trixie"), None);
        assert!(has_suite(new, "bookworm-updates") && !has_suite(old, "bookworm-backports"));
    }
}
