//! Does this machine's KVM run the guest?
//!
//! That the device opens proves nothing: there are machines where it does and the
//! vCPU then stops at the first SSE instruction, or emulates everything at a crawl.
//! So [`guest`] runs some guest code, in a process of its own that can be stopped.

pub mod guest;

use std::{env, fmt, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::process::{Cmd, command};

/// The test takes milliseconds on a real KVM and a fraction of a second in the lab.
const LIMIT: Duration = Duration::from_secs(2);

/// Where guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// Probe this machine's KVM, take the lab if it does not run the guest
    Auto,
    /// This machine's KVM
    Native,
    /// Real KVM in an emulated machine
    Lab,
}

/// Where guests are going to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On this machine's KVM.
    Native,
    /// In the lab, and why.
    Lab { reason: String },
}

impl Verdict {
    /// As reports name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Lab { .. } => "lab",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => write!(f, "native: this machine's KVM runs the guest"),
            Self::Lab { reason } => write!(f, "lab: {reason}"),
        }
    }
}

/// `cargo xtask probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {}

/// `cargo xtask probe`: prints the verdict.
///
/// # Errors
/// The probe itself cannot be started.
pub fn run(_: &ProbeArgs) -> Result<()> {
    println!("{}", probe()?);
    Ok(())
}

/// Decides where guests run. `native` and `lab` are taken as told, but `native` on a
/// machine that cannot is an error here rather than a hang later.
///
/// # Errors
/// `native` was asked for and does not work.
pub fn choose(host: Host) -> Result<Verdict> {
    match host {
        Host::Lab => Ok(Verdict::Lab { reason: "asked for with --host lab".into() }),
        Host::Auto => probe(),
        Host::Native => match probe()? {
            Verdict::Native => Ok(Verdict::Native),
            Verdict::Lab { reason } => bail!("--host native: {reason}; use --host lab or auto"),
        },
    }
}

/// Runs guest code on this machine's KVM.
///
/// # Errors
/// The probe itself cannot be started.
pub fn probe() -> Result<Verdict> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    let mut cmd = Cmd::new(own).arg("probe-guest").quiet().doing("probing KVM");
    cmd.std().stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut running = cmd.spawn()?;
    let Some(status) = running.wait(Some(LIMIT))? else {
        let reason = format!("KVM did not finish a millisecond of guest code in {} s", LIMIT.as_secs());
        return Ok(Verdict::Lab { reason });
    };
    if status.success() {
        return Ok(Verdict::Native);
    }
    let said = running.child.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
    let reason = said.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned);
    Ok(Verdict::Lab {
        reason: reason.unwrap_or_else(|| format!("probing KVM failed ({})", command::describe(status))),
    })
}
