//! `cargo xtask …`: set-up, builds, runs, experiments and reports.
//!
//! One file or folder per verb, and the parts that verbs share:
//!
//! - [`dirs`], [`versions`]: paths; versions of the tools
//! - `print`: lines on standard output, which may be closed
//! - [`output`]: files in a folder of the user's choice
//! - [`process`]: other programs, none of which outlives this one
//! - [`patches`]: a series of patches, applied to a source tree
//! - [`setup`]: the tools that a verb needs, found or installed
//! - [`probe`]: a test whether this machine's KVM runs the guest
//! - [`lab`]: real KVM in an emulated machine, for machines without it
//! - [`build`]: kernel archive, unikernel, loader, pager
//! - [`image`]: boot images of a Hermit application, with a manifest
//! - [`guest_memory`]: memory that a guest needs
//! - [`drive`]: one VM, from power-on to its end
//! - [`options`]: options that verbs share
//! - [`place`]: the place where VMs run, with everything that is booted
//! - [`experiment`]: experiments of many samples, and their documents
//! - [`new`]: a project of the user's own
//! - [`run`]: the experiment of one point, or any program
//! - [`check`]: the guest's own checks of the service
//! - [`submit`]: documents packed to be sent in, and the page of such files
//! - [`draw`], [`compare`]: an experiment's document drawn, or compared with another
//! - [`load`]: a load for a key-value server, with the latencies of its replies
//! - [`watch`]: page faults of a running VM, live
//! - [`test`]: all tests, counted
//! - [`audit`]: licences, dependencies, spelling and public interface
//! - [`site`]: the documents as a web site

// First: its macros are for all the others.
#[macro_use]
mod print;

mod audit;
mod build;
mod check;
mod compare;
mod dirs;
mod draw;
mod drive;
mod experiment;
mod guest_memory;
mod image;
mod lab;
mod load;
mod new;
mod options;
mod output;
mod patches;
mod place;
mod probe;
mod process;
mod run;
mod setup;
mod site;
mod submit;
mod test;
mod versions;
mod watch;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, boots and measures the async page fault service.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Installs missing tools and prints the reason for each; the other verbs do so when needed
    Setup(setup::SetupArgs),
    /// Builds the unikernel with its kernel, the loader and the pager
    Build(build::BuildArgs),
    /// Makes boot images of a Hermit application: for uhyve, for QEMU, as one file, as a disk
    Image(image::ImageArgs),
    /// Makes a project of your own, outside this repository: a server, booted by `cargo run`
    New(new::NewArgs),
    /// Boots the guest, evicts its memory, and reports the gain from async page faults; with --app any
    /// Hermit program
    Run(run::RunArgs),
    /// Runs the guest's own checks: of each context that a fault can interrupt, and across cores
    Check(check::CheckArgs),
    /// Runs latency experiments: many interleaved samples, one document per experiment
    Experiment(experiment::ExperimentArgs),
    /// Draws experiments' documents: a page, tables, percentiles, a trace, a summary
    Report(draw::ReportArgs),
    /// Compares an experiment's document with an earlier one of the same kind
    ///
    /// Exit code 1: a metric is certainly worse by more than the limit. Exit code 2: the two
    /// documents cannot be compared.
    Compare(compare::CompareArgs),
    /// Makes the page of the files that `--submit` packed, for docs/results/machines.md
    Machines(submit::page::MachinesArgs),
    /// Shows a running VM's page faults while they happen, for any VM of this machine
    Watch(watch::WatchArgs),
    /// Sends planned requests to a key-value server with Redis' protocol, checks its replies, and
    /// reports their latencies
    ///
    /// Requests start at random times, whether or not earlier ones have been answered, and a latency
    /// counts from the planned start. Exit code 1: a reply was wrong, or an error.
    Load(load::LoadArgs),
    /// Runs all tests and counts the results
    Test(test::TestArgs),
    /// Checks spelling, licences, unused dependencies and, with --since, the public interface
    Audit(audit::AuditArgs),
    /// Makes a web site of the documents, the crates' documentation and example reports
    Site(site::SiteArgs),
    /// Reports whether this machine's KVM runs the guest or the lab is needed
    Probe(probe::ProbeArgs),
    /// Runs a command inside the lab (real KVM in an emulated machine), for development
    #[command(hide = true)]
    Lab(lab::LabArgs),
    /// The part of other verbs that needs KVM: drives one VM
    #[command(hide = true)]
    Drive(drive::DriveArgs),
    /// The part of `image --time` that needs KVM
    #[command(hide = true)]
    ImageTime(image::time::TimeArgs),
    /// The part of `probe` that may hang
    #[command(hide = true)]
    ProbeGuest,
}

impl Verb {
    /// Tells whether it writes below `target/apf`. The tests call other verbs, and the hidden
    /// verbs are parts of others.
    const fn writes(&self) -> bool {
        matches!(
            self,
            Self::Setup(_)
                | Self::Build(_)
                | Self::Image(_)
                | Self::New(_)
                | Self::Run(_)
                | Self::Check(_)
                | Self::Experiment(_)
                | Self::Lab(_)
                | Self::Audit(_)
                | Self::Site(_)
        )
    }

    /// Runs the verb and returns the exit code.
    fn run(self) -> Result<u8> {
        match self {
            Self::Setup(args) => setup::run(&args).map(|()| 0),
            Self::Build(args) => build::run(&args).map(|()| 0),
            Self::Image(args) => image::run(&args).map(|()| 0),
            Self::New(args) => new::run(&args).map(|()| 0),
            Self::Run(args) => run::run(&args),
            Self::Check(args) => check::run(&args).map(|()| 0),
            Self::Experiment(args) => experiment::verb(&args).map(|()| 0),
            Self::Report(args) => draw::run(&args).map(|()| 0),
            Self::Compare(args) => Ok(compare::run(&args)),
            Self::Machines(args) => submit::page::run(&args).map(|()| 0),
            Self::Watch(args) => watch::run(&args).map(|()| 0),
            Self::Load(args) => load::run(&args).map(|()| 0),
            Self::Test(args) => test::run(&args),
            Self::Audit(args) => audit::run(&args),
            Self::Site(args) => site::run(&args).map(|()| 0),
            Self::ImageTime(args) => image::time::here(&args).map(|()| 0),
            Self::Drive(args) => drive::run(&args).map(|()| 0),
            Self::Probe(args) => probe::run(&args).map(|()| 0),
            Self::Lab(args) => lab::verb(&args),
            Self::ProbeGuest => probe::guest::run().map(|()| 0),
        }
    }
}

/// Returns the words of `words`, this program's arguments. cargo puts a program and its arguments behind a
/// runner: `runner OPTIONS -- ELF ARGS` becomes `run OPTIONS --app ELF -- ARGS`.
fn arguments(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<_> = words.into_iter().collect();
    let end = words.iter().position(|word| word == "--");
    if let (Some(end), true) = (end, words.get(1).is_some_and(|verb| verb == "runner")) {
        words[1] = "run".into();
        words[end] = "--app".into();
        // With nothing behind it, the option's own message says that its program is missing.
        words.insert((end + 2).min(words.len()), "--".into());
    }
    words
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(env::args_os()));
    let result = process::guard::install().and_then(|()| {
        let _lock = cli.verb.writes().then(dirs::lock).transpose()?;
        cli.verb.run()
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            process::guard::park_if_interrupted();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_takes_its_program_and_arguments_from_cargo() {
        let read = |line: &str| {
            let words = arguments(line.split_whitespace().map(OsString::from));
            words.join(" ".as_ref()).into_string().unwrap()
        };
        assert_eq!(read("xtask runner --net -- a.elf --b -- c"), "xtask run --net --app a.elf -- --b -- c");
        assert_eq!(read("xtask runner -- a.elf"), "xtask run --app a.elf --");
        assert_eq!(read("xtask run --app a.elf -- runner"), "xtask run --app a.elf -- runner");
    }
}
