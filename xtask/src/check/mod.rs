//! `cargo xtask check`: the guest's own checks of what the service does, in a real VM.
//!
//! - [`report`]: the document

mod report;

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::drive::latency::PageLatency;
use crate::drive::spec::{Host, Spec, Vmm};
use crate::options::{GuestOptions, HostOptions, LatencyOption};
use crate::output;
use crate::place::Place;
use report::Report;

/// Time from a fault to its page, unless the user says otherwise.
const PAGE_LATENCY: Duration = Duration::from_millis(3);
const MEMORY_MIB: u32 = 256;
/// Pages that the guest fills (`unikernel/src/contexts/bench.rs`), and memory for all else.
const REGION_PAGES: u32 = 4096;
const LEAST_MIB: u32 = 64;
/// Pages that all checks read; most by those of registers, some hundred each.
const READ: u32 = 3000;

/// `cargo xtask check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Checks by name, or of a group: contexts (each context that a fault can interrupt, on one
    /// core), cores (what passes between cores), hostile (a host that attacks), refused (a host that
    /// refuses to turn async page faults on) [default: all contexts or cores, by the number of cores]
    #[arg(value_name = "contexts|cores|hostile|refused|NAME")]
    names: Vec<String>,
    #[command(flatten)]
    latency: LatencyOption,
    #[command(flatten)]
    host: HostOptions,
    #[command(flatten)]
    guest: GuestOptions,
}

/// `cargo xtask check`
///
/// # Errors
/// Something is missing, the guest does not reach its end, a check fails, or the counts of guest and
/// host differ.
pub fn run(args: &CheckArgs) -> Result<()> {
    let cores = args.cores()?;
    let memory_mib = args.guest.memory_mib(MEMORY_MIB, LEAST_MIB, "the checks")?;
    let out = args.guest.folder("check", "")?;
    output::check(&out, &[report::FILE])?;
    let vmm = args.guest.vmm.unwrap_or(Vmm::Uhyve);
    let place = Place::prepare(&args.host, &[vmm], false)?;
    let page_latency = args.latency.page_latency.clone();
    let page_latency = page_latency.unwrap_or_else(|| PageLatency::constant(PAGE_LATENCY));
    let names = if args.names.is_empty() { "all".to_owned() } else { args.names.join(",") };
    let log = args.guest.log.as_deref().unwrap_or("info");
    let own = [format!("--check={names}"), format!("--seed={}", args.guest.seed), format!("--log={log}")];
    let work = (page_latency.mean() + Duration::from_millis(5)) * READ * 6;
    let spec = Spec {
        exact: args.host.exact,
        host: args.host_behaviour(),
        work,
        region_pages: REGION_PAGES,
        guest_args: own.into_iter().chain(args.guest.guest_args.iter().cloned()).collect(),
        ..place.spec(vmm, &args.guest, (memory_mib, cores), page_latency)?
    };
    // An old report must not be taken for this call's.
    let file = out.join(report::FILE);
    let _ = fs::remove_file(&file);
    let outcome = place.drive(&spec, &out.join("run"))?;
    let report = Report::new(&spec, &place.verdict, outcome);
    report.write(&out)?;
    println!("\n{}\n\nreport: {}", report.text(), file.display());
    let wrong = report.failures();
    ensure!(wrong.is_empty(), "the result is not right: {}", wrong.join("; "));
    Ok(())
}

impl CheckArgs {
    fn asks_for(&self, name: &str) -> bool {
        self.names.iter().any(|asked| asked == name)
    }

    /// Returns the behaviour of the host that the checks need.
    fn host_behaviour(&self) -> Host {
        if self.asks_for("hostile") {
            Host::Attacks
        } else if self.asks_for("refused") {
            Host::Refuses
        } else {
            Host::Honest
        }
    }

    /// Returns the guest's virtual CPUs.
    fn cores(&self) -> Result<u32> {
        let cores = self.guest.cores(if self.asks_for("cores") { 2 } else { 1 }, self.host.exact)?;
        if self.asks_for("contexts") && cores > 1 {
            bail!(
                "--smp {cores} is more than the checks of contexts can judge: they watch who runs on one \
                 core; check contexts without cores, and without --smp"
            );
        }
        if self.asks_for("refused") && cores > 1 {
            bail!("--smp {cores} is more than the check refused needs: check it without --smp");
        }
        if self.asks_for("cores") && cores == 1 {
            bail!("--smp 1 leaves nothing to check between cores: it needs two at least");
        }
        Ok(cores)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn groups_of_checks_need_their_number_of_cores() {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            args: CheckArgs,
        }
        let cores = |args: &[&str]| Cli::try_parse_from([&["x"], args].concat()).unwrap().args.cores();
        for (args, number) in [
            (&[][..], 1),
            (&["crowd"], 1),
            (&["cores"], 2),
            (&["cores", "--smp", "4"], 4),
            (&["--smp", "2"], 2),
            (&["hostile"], 1),
            (&["hostile", "--smp", "2"], 2),
        ] {
            assert_eq!(cores(args).unwrap(), number, "{args:?}");
        }
        for (args, named) in [
            (&["contexts", "--smp", "2"][..], "--smp 2"),
            (&["contexts", "cores"], "without cores"),
            (&["refused", "--smp", "2"], "without --smp"),
            (&["cores", "--smp", "1"], "two at least"),
            (&["cores", "--exact"], "one core, not 2"),
        ] {
            let error = cores(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}
