//! `cargo xtask experiment`: questions to real VMs, and documents with the answers.
//!
//! - [`catalogue`]: what an experiment is, and which there are; one file for each:
//!   [`overlap`], [`compute`], [`latency`], [`halt`], [`sweep`], [`tail`], [`storm`],
//!   [`prefetch`], [`cost`], [`peer`], [`swap`]
//! - [`plan`]: what one experiment is going to measure, as the options say
//! - [`measure`]: one experiment, from a plan to its document
//! - [`boots`]: which guests are booted for it, in which order, and what came of each
//! - [`document`]: the document's parts that are not samples
//! - [`statistics`]: medians and spreads, for claims

mod boots;
mod catalogue;
mod compute;
mod cost;
mod document;
mod halt;
mod latency;
mod measure;
mod overlap;
mod peer;
mod plan;
mod prefetch;
mod statistics;
mod storm;
mod swap;
mod sweep;
mod tail;

use std::path::PathBuf;

use anyhow::{Result, bail};
use apf_vocabulary::grid::Axis;
use bytesize::ByteSize;
use clap::{Args, Subcommand};

use crate::drive::evict::Evict;
use crate::drive::latency::PageLatency;
use crate::drive::spec::Vmm;
use crate::probe::Host;
use crate::process::guard;
use catalogue::Definition;
use measure::Place;
use plan::Plan;

/// `cargo xtask experiment`
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Says what each experiment asks, varies, compares with, and what would falsify it
    List,
    /// Runs experiments, one after the other
    Run {
        /// Which; see `list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Runs all experiments
    All {
        #[command(flatten)]
        options: Options,
    },
}

/// How experiments are run.
#[derive(Clone, Debug, Args)]
struct Options {
    /// Fewer points, repetitions and pages: a first look
    #[arg(long)]
    quick: bool,
    /// How often each point is measured [default: 5, with --quick 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// Other values of a parameter: --at tasks=1,64 (may be repeated)
    #[arg(long, value_name = "NAME=VALUES")]
    at: Vec<Axis>,
    /// Only these modes, of those that the experiment has: --modes blocked,async
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    modes: Vec<String>,
    /// How long page-ins take, in place of an experiment's own values; as for `run`
    #[arg(long, value_name = "LATENCY")]
    page_latency: Option<PageLatency>,
    /// Which pages an eviction takes, and how often: all, fraction:0.25, periodic:500ms,0.25, lru:0.5
    #[arg(long, value_name = "KIND", default_value = "all")]
    evict: Evict,
    /// Where guests run
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    host: Host,
    /// One instruction is one nanosecond, whatever else the machine does: slow, in the lab
    /// only, one core
    #[arg(long)]
    exact: bool,
    /// What boots the guest [default: uhyve; beside Linux qemu]
    #[arg(long, value_enum)]
    vmm: Option<Vmm>,
    /// The guest's virtual CPUs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// The guest's memory [default: what the experiment needs, mostly 256MiB]
    #[arg(long)]
    memory: Option<ByteSize>,
    /// Seed of contents, order and latencies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show the guest's console
    #[arg(long)]
    console: bool,
    /// Folder for the results, one folder for each experiment [default: target/apf/experiments]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `cargo xtask experiment`
///
/// # Errors
/// There is no such experiment, an option does not fit, a guest does not come
/// to its end, or a page was wrong.
pub fn run(args: &ExperimentArgs) -> Result<()> {
    match &args.what {
        What::List => {
            println!("{}", catalogue::list());
            Ok(())
        }
        What::Run { names, options } => {
            let definitions = names.iter().map(|name| catalogue::find(name)).collect::<Result<Vec<_>>>()?;
            run_each(&definitions, options, Missing::Fails)
        }
        What::All { options } => {
            let fits = |definition: &&'static Definition| {
                // What keeps the others from running is an error.
                let qemu = !definition.has_linux() || plan::vmm(definition, options).is_ok();
                if !qemu {
                    println!("{} is left out: it runs its guests under QEMU", definition.name);
                }
                let paged = plan::fits(definition, options);
                if let Err(why) = &paged {
                    println!("{} is left out: {why:#}", definition.name);
                }
                // What counts instructions would keep the others from the host's clock.
                qemu && paged.is_ok() && (options.exact || !definition.profiled)
            };
            let definitions: Vec<_> = catalogue::ALL.into_iter().filter(fits).collect();
            run_each(&definitions, options, Missing::IsLeftOut)
        }
    }
}

/// What becomes of an experiment that cannot be run where guests run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It was asked for by its name.
    Fails,
    /// It is one of all.
    IsLeftOut,
}

fn run_each(definitions: &[&'static Definition], options: &Options, missing: Missing) -> Result<()> {
    // Everything is checked before the first one takes its minutes.
    let plans: Vec<_> =
        definitions.iter().map(|definition| Plan::new(definition, options)).collect::<Result<_>>()?;
    let place = Place::prepare(&plans, options)?;
    let mut failed = Vec::new();
    for plan in &plans {
        if missing == Missing::IsLeftOut
            && let Err(why) = place.takes(plan.definition)
        {
            println!("\n{} is left out: {why:#}", plan.definition.name);
            continue;
        }
        // One that fails does not keep the others from running.
        if let Err(error) = place.run(plan, options) {
            guard::park_if_interrupted();
            eprintln!("error: {}: {error:#}", plan.definition.name);
            failed.push(plan.definition.name);
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} experiments failed: {}", failed.len(), plans.len(), failed.join(", "));
    }
    Ok(())
}
