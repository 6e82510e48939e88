//! `cargo xtask run`: the experiment of one point, from nothing to its report; or any program.
//!
//! - [`app`]: any Hermit program, with `--app`
//! - [`report`]: that run's document
//! - [`working_set`]: the file of that program's working set

mod app;
mod report;
mod working_set;

use anyhow::{Result, ensure};
use apf_vocabulary::grid::Axis;
use apf_vocabulary::page::PAGES_PER_MIB;
use clap::Args;

use crate::experiment::{self, Options};
use crate::options::{GuestOptions, HostOptions, PagingOptions};

/// `cargo xtask run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Tasks that read [default: 32 on one virtual CPU, 64 for each of several]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    tasks: Option<u16>,
    /// Pages read in each of the two samples
    #[arg(long, default_value_t = 2560, value_parser = clap::value_parser!(u32).range(1..))]
    pages: u32,
    /// Memory filled with fingerprints, in MiB; all of it is compared at the end
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    region_mib: u16,
    #[command(flatten)]
    app: app::AppOptions,
    #[command(flatten)]
    paging: PagingOptions,
    #[command(flatten)]
    host: HostOptions,
    #[command(flatten)]
    guest: GuestOptions,
}

/// `cargo xtask run`: returns the exit code.
pub fn run(args: &RunArgs) -> Result<u8> {
    if let Some(app) = &args.app.app {
        return app::run(app, &args.app, &args.paging, &args.host, &args.guest);
    }
    let region_pages = u32::from(args.region_mib) * PAGES_PER_MIB;
    ensure!(
        args.pages <= region_pages,
        "--pages {} is more than --region-mib {} has ({region_pages})",
        args.pages,
        args.region_mib
    );
    let all = |cores: u32| u16::try_from(64 * cores).unwrap_or(u16::MAX).min(1024);
    let cores = args.guest.smp.unwrap_or(1);
    let tasks = args.tasks.unwrap_or(if cores == 1 { 32 } else { all(cores) });
    let mut guest = args.guest.clone();
    guest.log.get_or_insert_with(|| "info".into());
    experiment::run_one(&Options {
        quick: false,
        repetitions: Some(1),
        at: vec![Axis::new("tasks", &[tasks.into()]), Axis::new("pages", &[args.pages.into()])],
        modes: vec![],
        region_mib: Some(args.region_mib),
        paging: args.paging.clone(),
        host: args.host.clone(),
        guest,
    })?;
    Ok(0)
}
