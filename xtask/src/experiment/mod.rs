//! `cargo xtask experiment`: questions to real VMs, and documents with the answers.
//!
//! - [`definition`]: what an experiment consists of
//! - [`catalogue`]: every experiment; one file for each: [`run`](mod@run), [`overlap`], [`compute`],
//!   [`latency`], [`halt`], [`sweep`], [`tail`], [`storm`], [`serve`], [`prefetch`], [`cost`], [`peer`], [`swap`]
//! - [`options`]: options that change an experiment
//! - [`plan`]: samples that one experiment is going to have, as the options say
//! - [`measure`]: one experiment, from a plan to its document
//! - [`boots`]: guests that are booted for it, and the record of each
//! - [`document`]: the document's parts that are not samples
//! - [`accounts`]: pages and counts that must be right in every document
//! - [`statistics`]: medians and spreads, for claims

mod accounts;
mod boots;
mod catalogue;
mod compute;
mod cost;
mod definition;
mod document;
mod halt;
mod latency;
mod measure;
mod options;
mod overlap;
mod peer;
mod plan;
mod prefetch;
mod run;
mod serve;
mod statistics;
mod storm;
mod swap;
mod sweep;
mod tail;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::place::Place;
use crate::process::guard;
use crate::submit::SubmitOption;
use definition::Definition;
pub use options::Options;
use plan::Plan;

/// `cargo xtask experiment`
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists each experiment's question, variable, baseline, and the outcome that would falsify it
    List,
    /// Runs experiments, one after the other
    Run {
        /// Names of experiments; see `list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        submit: SubmitOption,
    },
    /// Runs all experiments
    All {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        submit: SubmitOption,
    },
}

/// `cargo xtask experiment`
pub fn verb(args: &ExperimentArgs) -> Result<()> {
    match &args.what {
        What::List => {
            println!("{}", catalogue::list());
            Ok(())
        }
        What::Run { names, options, submit } => {
            let definitions = names.iter().map(|name| catalogue::find(name)).collect::<Result<Vec<_>>>()?;
            run_each(&definitions, options, submit, Missing::Fails)
        }
        What::All { options, submit } => {
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
                qemu && paged.is_ok() && (options.host.exact || !definition.profiled)
            };
            let definitions: Vec<_> = catalogue::ALL.into_iter().filter(fits).collect();
            run_each(&definitions, options, submit, Missing::IsLeftOut)
        }
    }
}

/// Treatment of an experiment that cannot be run in this place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It was requested by its name.
    Fails,
    /// It is one of all.
    IsLeftOut,
}

/// Runs the experiment `run`, with one repetition at the one point of the options.
///
/// # Errors
/// An option does not fit, the guest does not reach its end, or the result is not right.
pub fn run_one(options: &Options) -> Result<()> {
    let plan = Plan::new(&run::DEFINITION, options)?;
    measure::run(&prepare(std::slice::from_ref(&plan), options)?, &plan, options).map(drop)
}

fn prepare(plans: &[Plan], options: &Options) -> Result<Place> {
    let vmms: Vec<_> = plans.iter().map(|plan| plan.vmm).collect();
    Place::prepare(&options.host, &vmms, plans.iter().any(|plan| plan.definition.has_linux()))
}

fn run_each(
    definitions: &[&'static Definition],
    options: &Options,
    submit: &SubmitOption,
    missing: Missing,
) -> Result<()> {
    submit.check()?;
    // Everything is checked before the first one takes its minutes.
    let plans: Vec<_> =
        definitions.iter().map(|definition| Plan::new(definition, options)).collect::<Result<_>>()?;
    let place = prepare(&plans, options)?;
    let (mut documents, mut failed) = (Vec::new(), Vec::new());
    for plan in &plans {
        if missing == Missing::IsLeftOut
            && let Err(why) = measure::takes(&place, plan.definition)
        {
            println!("\n{} is left out: {why:#}", plan.definition.name);
            continue;
        }
        // One that fails does not keep the others from running.
        match measure::run(&place, plan, options) {
            Ok(document) => documents.push(document),
            Err(error) => {
                guard::park_if_interrupted();
                eprintln!("error: {}: {error:#}", plan.definition.name);
                failed.push(plan.definition.name);
            }
        }
    }
    if !documents.is_empty() {
        submit.write(&documents, &failed)?;
    }
    if !failed.is_empty() {
        bail!("{} of {} experiments failed: {}", failed.len(), plans.len(), failed.join(", "));
    }
    Ok(())
}
