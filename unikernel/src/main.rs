//! The guest's program: measures an experiment, or checks the service.
//!
//! On Hermit it starts the service. As the first process of Linux it runs the same
//! workloads with the kernel's own async page faults, to compare Hermit with
//! ([`platform`]).
//!
//! - [`experiments`]: samples at the points of a grid
//! - [`contexts`]: one check for each context that a fault can interrupt, and for each
//!   thing that passes between cores
//! - [`alone`]: work for a host that takes no part
//! - [`compute`]: a task that only computes
//! - [`region`]: memory in which every page can be recognised
//! - [`host`]: messages to the host, and its answers

mod alone;
mod compute;
mod contexts;
mod experiments;
mod host;
mod platform;
mod region;
mod values;

use std::process::ExitCode;
use std::time::Duration;

use apf_vocabulary::Message;
use clap::Parser;
use tracing::Level;

/// Options of the program, which the host gives.
#[derive(Debug, Parser)]
#[command(about = "Reads memory that the host has evicted, with async page faults and without")]
struct Options {
    #[command(flatten)]
    plan: experiments::Plan,
    /// Run checks in place of an experiment: all, contexts, cores, or some by name
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    check: Vec<String>,
    /// Read pages for this many seconds, and ask the host for nothing
    #[arg(long, value_name = "SECONDS")]
    alone: Option<u64>,
    /// Show the service's events of this level and above: error, warn, info, debug, trace
    #[arg(long, default_value = "info")]
    log: Level,
}

fn main() -> ExitCode {
    platform::begin();
    platform::end(work())
}

fn work() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            print!("{error}");
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(options.log)
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stdout)
        .init();
    if let Some(seconds) = options.alone {
        return alone::run(options.plan.seed, Duration::from_secs(seconds));
    }
    if options.check.is_empty() {
        experiments::run(&options.plan);
    } else if let Err(error) = contexts::run(options.plan.seed, &options.check) {
        host::send(&Message::ServiceOff { reason: error.to_string() });
    }
    host::send(&Message::Done);
    ExitCode::SUCCESS
}
