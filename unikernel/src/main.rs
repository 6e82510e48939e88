//! The guest's program: runs an experiment.
//!
//! On Hermit it starts the service. As the first process of Linux it runs the same
//! workloads with the kernel's own async page faults, to hold Hermit against
//! ([`platform`]).
//!
//! `contexts` and those of `experiments` are described in their own modules. The
//! default one: memory is filled
//! with a fingerprint for each page. Then, once with async page faults and once
//! without: the host pages everything out, tasks read random pages while one
//! task computes, and every byte is compared.

mod compute;
mod contexts;
mod experiments;
mod host;
mod pass;
mod platform;
mod region;

use std::process::ExitCode;
use std::sync::Arc;

use apf_service::Waits;
use apf_vocabulary::grid::Axis;
use apf_vocabulary::page::PAGES_PER_MIB;
use apf_vocabulary::{Message, Mode};
use clap::Parser;
use tracing::Level;

/// What the host asks this program to do.
#[derive(Debug, Parser)]
#[command(about = "Reads paged-out memory, with async page faults and without")]
struct Options {
    /// What to run: default, contexts, cores, or the name of an experiment
    #[arg(long, default_value = "default", value_parser = experiment)]
    experiment: Experiment,
    /// Tasks that read
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    tasks: u16,
    /// Memory to fill with fingerprints, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    region_mib: u16,
    /// Pages that each pass, or each sample of peer, reads while the clock runs
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
    /// Of other experiments: a parameter and its values, tasks=1,2,4 (one option for each)
    #[arg(long)]
    at: Vec<Axis>,
    /// Of other experiments: how faults wait, in turn
    #[arg(long, value_delimiter = ',', default_value = "blocked,halt,async")]
    modes: Vec<Mode>,
    /// Of other experiments: how often each point is measured
    #[arg(long, default_value_t = 1)]
    repetitions: u32,
    /// Of other experiments: about how long a sample takes, in milliseconds
    #[arg(long, default_value_t = 1000)]
    sample_ms: u64,
    /// Of other experiments: faults that are recorded one by one in each sample of the first
    /// repetition, on each core
    #[arg(long, default_value_t = 1024)]
    record: usize,
    /// Of peer: requests a second at each point, in their order
    #[arg(long, value_delimiter = ',')]
    loads: Vec<f64>,
    /// Of other experiments: page-ins take as long as the host was told, whatever the point says
    #[arg(long)]
    latency_is_given: bool,
    /// Of other experiments: async waits are by schedule, even where halting is cheaper
    #[arg(long)]
    always_schedule: bool,
}

impl Options {
    fn region_pages(&self) -> usize {
        usize::from(self.region_mib) * PAGES_PER_MIB as usize
    }
}

/// What this program can do.
#[derive(Clone, Copy, Debug)]
enum Experiment {
    /// Two passes over paged-out memory, service on and off.
    Default,
    /// Checks of each context that a fault can interrupt.
    Contexts,
    /// Checks of what passes between cores.
    Cores,
    /// Samples at the points of a grid.
    Samples(experiments::Measure),
}

fn experiment(name: &str) -> Result<Experiment, String> {
    match name {
        "default" => Ok(Experiment::Default),
        "contexts" => Ok(Experiment::Contexts),
        "cores" => Ok(Experiment::Cores),
        _ => experiments::find(name)
            .map(Experiment::Samples)
            .ok_or_else(|| "default, contexts, cores, or an experiment that this guest has".into()),
    }
}

fn only(name: &str) -> Result<Mode, String> {
    [Mode::Async, Mode::Blocked]
        .into_iter()
        .find(|m| m.name() == name)
        .ok_or_else(|| "async or blocked".into())
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
    match options.experiment {
        Experiment::Default => passes(&options),
        Experiment::Contexts => checks(|| contexts::run(options.seed, options.check.as_deref())),
        Experiment::Cores => checks(|| contexts::run_cores(options.seed)),
        Experiment::Samples(measure) => samples(measure, &options),
    }
}

fn checks(run: impl FnOnce() -> Result<(), apf_service::StartError>) -> ExitCode {
    hello(0, 0);
    match run() {
        Ok(()) => host::tell(&Message::Done),
        Err(error) => host::tell(&Message::ServiceOff { reason: error.to_string() }),
    }
    ExitCode::SUCCESS
}

fn samples(measure: experiments::Measure, options: &Options) -> ExitCode {
    let region_pages = options.region_pages();
    hello(region_pages, 0);
    let plan = experiments::Plan {
        axes: &options.at,
        modes: &options.modes,
        repetitions: options.repetitions,
        sample_ms: options.sample_ms,
        latency_is_given: options.latency_is_given,
        always_schedule: options.always_schedule,
        region_pages,
        pages: options.pages,
        record: options.record,
        loads: &options.loads,
        seed: options.seed,
    };
    match experiments::run(measure, &plan) {
        Ok(()) => host::tell(&Message::Done),
        Err(reason) => host::tell(&Message::ServiceOff { reason }),
    }
    ExitCode::SUCCESS
}

fn hello(region_pages: usize, pages: usize) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (tsc_mhz, entry, kernel) = (platform::tsc_mhz(), host::entry(), platform::kernel_code());
    host::tell(&Message::Hello { tsc_mhz, cores, region_pages, pages, entry, kernel });
}

fn passes(options: &Options) -> ExitCode {
    let region_pages = options.region_pages();
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
        let service = match platform::start(mode, Waits::Auto, 0) {
            Ok(service) => service,
            Err(reason) => {
                host::tell(&Message::ServiceOff { reason });
                continue;
            }
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
