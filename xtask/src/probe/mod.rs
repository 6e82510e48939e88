//! A test whether this machine's KVM runs the guest.
//!
//! A device that opens proves nothing: on some machines the vCPU then stops at the first
//! SSE instruction, or KVM emulates every instruction.
//!
//! - [`guest`]: guest code that is run on KVM, in a process that can be stopped
//! - [`memory`]: the verdict, remembered for the next call
//! - [`verdict`]: the place where guests run

pub mod guest;
mod memory;
mod verdict;

use std::{env, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use self::verdict::{Host, Verdict};
use crate::process::{Cmd, command};
use memory::Subject;

/// The probe takes milliseconds on a real KVM and a fraction of a second in the lab.
const LIMIT: Duration = Duration::from_secs(2);

/// `cargo xtask probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Probe again, even if a verdict since this machine's start is known
    #[arg(long)]
    again: bool,
}

/// `cargo xtask probe`: prints the verdict.
pub fn run(args: &ProbeArgs) -> Result<()> {
    let known = if args.again { None } else { known() };
    match known {
        Some(verdict) => {
            println!("{verdict}\n(an earlier verdict; `cargo xtask probe --again` probes again)")
        }
        None => println!("{}", probe()?),
    }
    Ok(())
}

/// Decides where guests run. `native` is always probed: on a machine whose KVM does not
/// run guests it is an error here instead of a hang later.
///
/// # Errors
/// `native` was requested and does not work.
pub fn choose(host: Host) -> Result<Verdict> {
    match host {
        Host::Lab => Ok(Verdict::Lab { reason: "requested with --host lab".into() }),
        Host::Auto => known().map_or_else(probe, Ok),
        Host::Native => match probe()? {
            Verdict::Native => Ok(Verdict::Native),
            Verdict::Lab { reason } => bail!("--host native: {reason}; use --host lab or auto"),
        },
    }
}

/// Decides where an exact guest runs: in the lab, which alone counts instructions.
///
/// # Errors
/// `native` was requested.
pub fn choose_exact(host: Host) -> Result<Verdict> {
    match host {
        Host::Auto | Host::Lab => {
            Ok(Verdict::Lab { reason: "--exact: one instruction is one nanosecond".into() })
        }
        Host::Native => bail!(
            "--exact needs the emulated processor of the lab, which counts instructions, and --host native \
             is a real one: use --host lab or auto"
        ),
    }
}

/// Recalls the verdict since this machine's start.
fn known() -> Option<Verdict> {
    Subject::here()?.recall(&memory::file())
}

/// Runs guest code on this machine's KVM, and remembers the verdict.
fn probe() -> Result<Verdict> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    let mut cmd = Cmd::new(own).arg("probe-guest").quiet().doing("probing KVM");
    cmd.std().stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut running = cmd.spawn()?;
    let Some(status) = running.wait(Some(LIMIT))? else {
        // Not remembered: the machine may only have been busy.
        let reason = format!("KVM did not finish a millisecond of guest code in {} s", LIMIT.as_secs());
        return Ok(Verdict::Lab { reason });
    };
    let verdict = if status.success() {
        Verdict::Native
    } else {
        let errors =
            running.child.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
        let reason = errors.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned);
        let reason = reason.unwrap_or_else(|| format!("probing KVM failed ({})", command::describe(status)));
        Verdict::Lab { reason }
    };
    if let Some(subject) = Subject::here() {
        subject.remember(verdict.clone(), &memory::file());
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_guest_runs_in_the_lab_only() {
        for host in [Host::Auto, Host::Lab] {
            assert_eq!(choose_exact(host).unwrap().name(), "lab");
        }
        let error = choose_exact(Host::Native).unwrap_err().to_string();
        assert!(error.contains("--host lab"), "{error}");
    }
}
