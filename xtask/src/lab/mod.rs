//! The lab: real KVM on a machine without it. QEMU's TCG emulates AMD SVM with nested
//! paging, Debian's kernel runs KVM on that, and the host's root file system is shared
//! read-only, so that every program of the host runs in the lab unchanged.
//!
//! In exact mode the lab's clock counts instructions, independent of the host's load, and a
//! job has only the files that it lists.
//!
//! - [`machine`]: the emulated machine's command line
//! - [`clock`]: frequency of its time-stamp counter
//! - [`job`]: a command for the lab, written into the share as a script
//! - [`ram`]: the files of an exact job, in the initramfs instead of a share
//! - [`boot`]: one boot, from power-on to the job's exit code

mod boot;
mod clock;
mod job;
mod machine;
mod ram;

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;

pub use boot::run;
pub use job::{Files, Job, SHARE, Time};

use crate::setup::{self, KERNELS, Needs};
use crate::versions::LabKernel;
use crate::{dirs, options};

/// `cargo xtask lab -- COMMAND…`
#[derive(Debug, Args)]
pub struct LabArgs {
    /// Stop the command after this many seconds
    #[arg(long, default_value_t = 600)]
    timeout_s: u64,
    /// Count instructions: each takes one nanosecond. The lab then has only the program and
    /// the files that its arguments name by absolute paths
    #[arg(long)]
    exact: bool,
    /// The lab's kernel: 6.1, 6.12 or 7.3 [default: 6.1]
    #[arg(long, value_name = "VERSION", env = "APF_LAB_KERNEL", value_parser = options::lab_kernel)]
    lab_kernel: Option<&'static LabKernel>,
    /// The command and its arguments; programs and files are the host's, read-only, with
    /// changes to /tmp discarded; /run/apf is shared and writable
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl LabArgs {
    fn files(&self) -> Result<Files> {
        let program = which::which(&self.command[0])
            .with_context(|| format!("there is no program `{}`", self.command[0].display()))?;
        let others = self.command[1..].iter().map(PathBuf::from).filter(|path| path.is_absolute());
        Ok(Files { programs: vec![program], others: others.filter(|path| path.is_file()).collect() })
    }
}

/// `cargo xtask lab -- COMMAND…`: runs the command, prints its output, returns its exit code.
pub fn verb(args: &LabArgs) -> Result<u8> {
    let tools =
        setup::ensure(Needs { lab: Some(args.lab_kernel.unwrap_or(&KERNELS.default)), ..Needs::default() })?;
    let share = dirs::scratch("lab-share")?;
    let here = env::current_dir().context("the current folder is gone")?;
    let (time, cwd) = if args.exact {
        (Time::Instructions { files: args.files()?, seed: 1 }, "/".into())
    } else {
        (Time::Host, here)
    };
    let job = Job {
        share: share.path().to_path_buf(),
        console: dirs::log("lab-console")?,
        argv: args.command.clone(),
        cwd,
        timeout: Duration::from_secs(args.timeout_s),
        time,
        ..Job::default()
    };
    let code = run(tools.lab.get()?, &job, &mut |line| println!("{line}"))?;
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
