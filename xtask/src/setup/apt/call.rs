//! Calls of apt.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::unistd::{User, geteuid};

use crate::dirs;
use crate::process::Cmd;

/// Limits, so that a mirror that does not answer costs seconds instead of minutes.
const OPTIONS: [&str; 8] = [
    "-o",
    "Acquire::Retries=1",
    "-o",
    "Acquire::http::Timeout=20",
    "-o",
    "Acquire::https::Timeout=20",
    "-o",
    "DPkg::Lock::Timeout=300",
];

/// Makes a command of apt-get.
pub fn apt_get(words: &[String]) -> Cmd {
    Cmd::new("apt-get")
        .args(OPTIONS)
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .timeout(Duration::from_secs(30 * 60))
}

/// Gives `folder` to the user that apt downloads as, its sandbox, if there is one. apt says itself
/// when it downloads without.
pub fn open_to_apt(folder: &Path) {
    if let (true, Ok(Some(user))) = (geteuid().is_root(), User::from_name("_apt")) {
        let _ = chown(folder, Some(user.uid.as_raw()), None);
    }
}

/// Reads the system's package lists again.
pub fn refresh() -> Result<()> {
    if !geteuid().is_root() {
        bail!("apt's package lists are missing or out of date; please type: sudo apt-get update");
    }
    let trouble = update()?;
    if !trouble.is_empty() {
        println!("  note     {trouble}");
    }
    Ok(())
}

/// Runs `apt-get update`. Returns a note on mirrors that were not reached, or nothing. A
/// missing mirror is no error: it may have none of the packages, and if it has, the
/// installation fails with this note.
pub fn update() -> Result<String> {
    let log = dirs::log("apt-update")?;
    let result = apt_get(&["update".to_owned()]).doing("reading package lists").logged(&log);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let unreached = unreached(&text);
    match result {
        Err(error) if unreached.is_empty() => Err(error),
        _ if unreached.is_empty() => Ok(String::new()),
        _ => Ok(format!("no answer from the package mirror {}", unreached.join(", "))),
    }
}

/// Lists the mirrors in apt's `Failed to fetch` lines.
fn unreached(log: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("Failed to fetch ") else { continue };
        let address = rest.split_whitespace().next().unwrap_or_default();
        let mirror = address.split('/').take(3).collect::<Vec<_>>().join("/");
        if !found.contains(&mirror) {
            found.push(mirror);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_that_do_not_answer_are_named_once() {
        let log = "Err:1 http://a x\nW: Failed to fetch http://a/x/y  Timeout\nE: Failed to fetch http://a/z  Timeout\n";
        assert_eq!(unreached(log), ["http://a"]);
    }
}
