//! Options that change an experiment.

use apf_vocabulary::grid::Axis;
use clap::Args;

use crate::options::{GuestOptions, HostOptions, PagingOptions};

/// Options of experiments.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Fewer points, repetitions and pages: a first look
    #[arg(long)]
    pub quick: bool,
    /// Number of times that each point is measured [default: 5, with --quick 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: Option<u32>,
    /// Other values of a parameter: --at tasks=1,64 (may be repeated)
    #[arg(long, value_name = "NAME=VALUES")]
    pub at: Vec<Axis>,
    /// Only these modes, of those that the experiment has: --modes blocked,async
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    pub modes: Vec<String>,
    /// Memory that samples read, where it is not the experiment's own.
    #[arg(skip)]
    pub region_mib: Option<u16>,
    #[command(flatten)]
    pub paging: PagingOptions,
    #[command(flatten)]
    pub host: HostOptions,
    #[command(flatten)]
    pub guest: GuestOptions,
}
