//! The unikernel: starts the service and runs an experiment.
//!
//! `contexts` is described in its own module. The default one: memory is filled
//! with a fingerprint for each page. Then, once with async page faults and once
//! without: the host pages everything out, tasks read random pages while one
//! task computes, and every byte is compared.

mod compute;
mod contexts;
mod host;
mod pass;
mod region;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tracing::Level;
use unikernel::wire::{Message, Mode};

/// What the host asks this program to do.
#[derive(Debug, Parser)]
#[command(about = "Reads paged-out memory, with async page faults and without")]
struct Options {
    /// What to run: default or contexts
    #[arg(long, default_value = "default", value_parser = experiment)]
    experiment: Experiment,
    /// Tasks that read
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    tasks: u16,
    /// Memory to fill with fingerprints, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    region_mib: u16,
    /// Pages that each pass reads while the clock runs
    #[arg(long, default_value_t = 2560)]
    pages: usize,
    /// Microseconds that the computing task computes before it yields
    #[arg(long, default_value_t = 1000)]
    slice_us: u64,
    /// Seed of fingerprints and random order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell the service's events of this level and above: error, warn, info, debug, trace
    #[arg(long, default_value = "info")]
    log: Level,
    /// Only one of the two passes: async or blocked
    #[arg(long, value_parser = only)]
    only: Option<Mode>,
    /// Of the experiment contexts: only the check of this name
    #[arg(long)]
    check: Option<String>,
}

/// What this program can do.
#[derive(Clone, Copy, Debug)]
enum Experiment {
    /// Two passes over paged-out memory, service on and off.
    Default,
    /// Checks of each context that a fault can interrupt.
    Contexts,
}

fn experiment(name: &str) -> Result<Experiment, String> {
    match name {
        "default" => Ok(Experiment::Default),
        "contexts" => Ok(Experiment::Contexts),
        _ => Err("default or contexts".into()),
    }
}

fn only(name: &str) -> Result<Mode, String> {
    [Mode::Async, Mode::Blocked]
        .into_iter()
        .find(|m| m.name() == name)
        .ok_or_else(|| "async or blocked".into())
}

fn main() -> ExitCode {
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
    match options.experiment {
        Experiment::Default => passes(&options),
        Experiment::Contexts => checks(&options),
    }
}

fn checks(options: &Options) -> ExitCode {
    hello(0, 0);
    match contexts::run(options.seed, options.check.as_deref()) {
        Ok(()) => host::tell(&Message::Done),
        Err(error) => host::tell(&Message::ServiceOff { reason: error.to_string() }),
    }
    ExitCode::SUCCESS
}

fn hello(region_pages: usize, pages: usize) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    host::tell(&Message::Hello { tsc_mhz: apf_service::tsc_mhz(), cores, region_pages, pages });
}

fn passes(options: &Options) -> ExitCode {
    let region_pages = usize::from(options.region_mib) * 1024 * 1024 / region::PAGE;
    if options.pages > region_pages {
        println!("--pages {} is more than the region has ({region_pages})", options.pages);
        return ExitCode::from(2);
    }
    hello(region_pages, options.pages);
    let region = Arc::new(region::Region::filled(region_pages, options.seed));
    for mode in [Mode::Async, Mode::Blocked] {
        if options.only.is_some_and(|only| only != mode) {
            continue;
        }
        let service = match mode {
            Mode::Async => match apf_service::start(apf_service::Config::default()) {
                Ok(service) => Some(service),
                Err(error) => {
                    host::tell(&Message::ServiceOff { reason: error.to_string() });
                    continue;
                }
            },
            Mode::Blocked => None,
        };
        host::tell(&Message::Begin { mode });
        let pass = pass::run(mode, &region, options);
        if let Some(service) = service {
            service.stop();
            host::tell_histograms();
        }
        host::tell(&Message::Pass(pass));
    }
    host::tell(&Message::Done);
    ExitCode::SUCCESS
}
