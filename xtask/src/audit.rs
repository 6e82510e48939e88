//! `cargo xtask audit`: what a release needs beyond the tests, checked with other projects' tools.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::dirs;
use crate::process::Cmd;
use crate::setup::program::{DENY, MACHETE, SEMVER, TYPOS};
use crate::test::PUBLISHED;

/// `cargo xtask audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Check for known defects of dependencies as well; fetches their database
    #[arg(long)]
    advisories: bool,
    /// Compare the public interface with this revision's, for example the last release's tag
    #[arg(long, value_name = "REVISION")]
    since: Option<String>,
}

/// Runs all checks, also after a failure, and names those that failed; exit code 1 if any did.
///
/// # Errors
/// A tool cannot be installed or started.
pub fn run(args: &AuditArgs) -> Result<u8> {
    let tool = |path: PathBuf| Cmd::new(path).cwd(dirs::root());
    let mut failed = Vec::new();
    let mut check = |name: &'static str, cmd: Cmd| -> Result<()> {
        println!("\n== {name}");
        if !cmd.spawn()?.finish(None)?.success() {
            failed.push(name);
        }
        Ok(())
    };
    check("spelling", tool(TYPOS.ensure()?))?;
    check("unused dependencies", tool(MACHETE.ensure()?).args(["--with-metadata", "."]))?;
    let kinds = ["licenses", "bans", "sources"].into_iter().chain(args.advisories.then_some("advisories"));
    check("licences and sources", tool(DENY.ensure()?).args(["--all-features", "check"]).args(kinds))?;
    if let Some(revision) = &args.since {
        let packages = PUBLISHED.into_iter().flat_map(|name| ["--package", name]);
        let semver = tool(SEMVER.ensure()?).args(["semver-checks", "--baseline-rev", revision]);
        check("public interface", semver.args(packages))?;
    }
    println!();
    if failed.is_empty() {
        println!("all checks passed");
    } else {
        println!("failed: {}", failed.join(", "));
    }
    Ok(u8::from(!failed.is_empty()))
}
