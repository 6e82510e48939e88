//! Does this machine's KVM run the guest?
//!
//! That the device opens proves nothing: there are machines where it does and the
//! vCPU then stops at the first SSE instruction, or emulates everything at a crawl.
//! So [`guest`] runs some guest code, in a process of its own that can be stopped, and
//! [`memory`] spares the next run from doing so again.

pub mod guest;
mod memory;
mod verdict;

use std::{env, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use self::verdict::{Host, Verdict};
use crate::process::{Cmd, command};
use memory::Subject;

/// The test takes milliseconds on a real KVM and a fraction of a second in the lab.
const LIMIT: Duration = Duration::from_secs(2);

/// `cargo xtask probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Probe even if the verdict since this machine's start is known
    #[arg(long)]
    again: bool,
}

/// `cargo xtask probe`: prints the verdict.
///
/// # Errors
/// The probe itself cannot be started.
pub fn run(args: &ProbeArgs) -> Result<()> {
    let known = if args.again { None } else { known() };
    match known {
        Some(verdict) => println!("{verdict}\n(found earlier; `cargo xtask probe --again` probes anew)"),
        None => println!("{}", probe()?),
    }
    Ok(())
}

/// Decides where guests run. `native` and `lab` are taken as told, but `native` is
/// probed anew: on a machine that cannot it is an error here rather than a hang later.
///
/// # Errors
/// `native` was asked for and does not work.
pub fn choose(host: Host) -> Result<Verdict> {
    match host {
        Host::Lab => Ok(Verdict::Lab { reason: "asked for with --host lab".into() }),
        Host::Auto => known().map_or_else(probe, Ok),
        Host::Native => match probe()? {
            Verdict::Native => Ok(Verdict::Native),
            Verdict::Lab { reason } => bail!("--host native: {reason}; use --host lab or auto"),
        },
    }
}

/// Decides where guests run whose instructions are counted, which only the lab does.
///
/// # Errors
/// `native` was asked for.
pub fn choose_exact(host: Host) -> Result<Verdict> {
    match host {
        Host::Auto | Host::Lab => {
            Ok(Verdict::Lab { reason: "--exact: one instruction is one nanosecond".into() })
        }
        Host::Native => bail!(
            "--exact counts the instructions of an emulated processor, and --host native has a real one: \
             use --host lab or auto"
        ),
    }
}

/// The verdict since this machine's start.
fn known() -> Option<Verdict> {
    Subject::here()?.recall(&memory::file())
}

/// Runs guest code on this machine's KVM, and remembers what came of it.
///
/// # Errors
/// The probe itself cannot be started.
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
        let said = running.child.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
        let reason = said.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned);
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
    fn instructions_are_counted_in_the_lab_only() {
        for host in [Host::Auto, Host::Lab] {
            assert_eq!(choose_exact(host).unwrap().name(), "lab");
        }
        let error = choose_exact(Host::Native).unwrap_err().to_string();
        assert!(error.contains("--host lab"), "{error}");
    }
}
