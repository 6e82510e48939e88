//! `cargo xtask …`: set-up, builds, runs, experiments and reports.
//!
//! One file or folder per verb; the rest is what verbs share:
//!
//! - [`dirs`], [`versions`]: where things are and which versions are relied upon
//! - [`process`]: running other programs so that none survives us
//! - [`patches`]: applying a series of patches to a source tree
//! - [`setup`]: finding and installing what a verb needs
//! - [`probe`]: does this machine's KVM run the guest?
//! - [`lab`]: real KVM in an emulated machine, where it does not
//! - [`build`]: what gets booted
//! - [`image`]: everything that boots a Hermit application, described
//! - [`guest_memory`]: how much of it tasks need
//! - [`drive`]: one VM, from power-on to its last word
//! - [`run`]: one run with two passes, or the checks of contexts, and its report
//! - [`experiment`]: questions with many samples, and their documents
//! - [`draw`], [`compare`]: what is made of an experiment's document
//! - [`test`]: all tests, counted

mod build;
mod compare;
mod dirs;
mod draw;
mod drive;
mod experiment;
mod guest_memory;
mod image;
mod lab;
mod patches;
mod probe;
mod process;
mod report;
mod run;
mod setup;
mod test;
mod versions;

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
    /// Installs what is missing; says what and why. Implied by the other verbs
    Setup(setup::SetupArgs),
    /// Builds the unikernel, its kernel and the pager
    Build(build::BuildArgs),
    /// Makes images of a Hermit application: for uhyve, for QEMU, one file alone, a disk
    Image(image::ImageArgs),
    /// Boots the guest, pages its memory out, and reports what async page faults gain
    Run(run::RunArgs),
    /// Runs latency experiments: many samples, interleaved, and a document for each
    Experiment(experiment::ExperimentArgs),
    /// Draws experiments' documents: a page, tables, percentiles, a trace, a summary here
    Report(draw::ReportArgs),
    /// Holds one experiment's document against an earlier one of the same kind
    ///
    /// Exit code 1 if a metric is surely worse by more than the limit, 2 if the two cannot be
    /// compared.
    Compare(compare::CompareArgs),
    /// Runs all tests, and counts them
    Test(test::TestArgs),
    /// Says whether this machine's KVM runs the guest, or the lab is needed
    Probe(probe::ProbeArgs),
    /// Runs a command inside the lab (real KVM in an emulated machine), for development
    #[command(hide = true)]
    Lab(lab::LabArgs),
    /// The part of `run` that needs KVM: drives one VM
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
    /// Runs the verb; the number is the exit code.
    fn run(self) -> Result<u8> {
        match self {
            Self::Setup(args) => setup::run(&args).map(|()| 0),
            Self::Build(args) => build::run(&args).map(|()| 0),
            Self::Image(args) => image::run(&args).map(|()| 0),
            Self::Run(args) => run::run(&args).map(|()| 0),
            Self::Experiment(args) => experiment::run(&args).map(|()| 0),
            Self::Report(args) => draw::run(&args).map(|()| 0),
            Self::Compare(args) => Ok(compare::run(&args)),
            Self::Test(args) => test::run(&args),
            Self::ImageTime(args) => image::time::here(&args).map(|()| 0),
            Self::Drive(args) => drive::run(&args).map(|()| 0),
            Self::Probe(args) => probe::run(&args).map(|()| 0),
            Self::Lab(args) => lab::verb(&args),
            Self::ProbeGuest => probe::guest::run().map(|()| 0),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = process::guard::install().and_then(|()| cli.verb.run());
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            process::guard::park_if_interrupted();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
