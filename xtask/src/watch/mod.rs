//! `cargo xtask watch`: a running VM's page faults as the host's kernel sees them, live, and beside
//! them the guest's own figures if it serves them.
//!
//! - [`vm`]: the process of a VM
//! - [`figures`]: what a guest serves
//! - [`guest`]: asks the guest for it
//! - [`meter`]: the host's counts and rates
//! - [`screen`]: the view on a terminal

mod figures;
mod guest;
mod meter;
mod screen;
mod vm;

use std::io::{IsTerminal, stdout};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::drive::trace::Trace;
use guest::Asker;
use meter::{Meter, View};
use vm::Vm;

/// `cargo xtask watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Process of the VM: a QEMU, a uhyve, or any other that uses KVM
    #[arg(value_name = "PID")]
    process: u32,
    /// Print one JSON object for each look, for scripts
    #[arg(long)]
    json: bool,
    /// Time between two looks
    #[arg(long, default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End after so many looks [default: when the VM ends]
    #[arg(long, value_name = "LOOKS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Show the guest's figures too; it serves them with `apf_service::serve_metrics`, at /metrics unless a URL
    /// says otherwise
    #[arg(long, value_name = "HOST:PORT|URL")]
    metrics: Option<String>,
}

/// `cargo xtask watch`: ends with the VM, or when the user has seen enough.
pub fn run(args: &WatchArgs) -> Result<()> {
    let vm = Vm::find(args.process)?;
    let trace = Trace::with_exits()?;
    let title = format!("{} ({})", vm.process(), vm.name());
    let mut meter = Meter::new(vm, trace)?;
    let mut asker = args.metrics.as_deref().map(Asker::new).transpose()?;
    let mut look = || -> Result<View> {
        let view = meter.look()?;
        let host = [view.total.not_present, view.total.ready];
        Ok(View { guest: asker.as_mut().map(|asker| asker.look(host)), ..view })
    };
    if !args.json && stdout().is_terminal() {
        return screen::show(&title, args.interval, args.count, look);
    }
    for number in 1.. {
        thread::sleep(args.interval);
        let view = look()?;
        if args.json {
            println!("{}", serde_json::to_string(&view).context("plain data")?);
        } else {
            if number == 1 {
                println!("{}", View::heading());
            }
            println!("{}", view.line());
        }
        if view.ended || args.count == Some(number) {
            break;
        }
    }
    Ok(())
}

fn interval(text: &str) -> Result<Duration, String> {
    const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if RANGE.contains(&interval) { Ok(interval) } else { Err("choose from 100ms to 1h".into()) }
}
