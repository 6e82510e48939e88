//! Driving one VM: the same program does it natively and inside the lab.
//!
//! - [`latency`]: times of page-ins, as text
//! - [`evict`]: kinds of evictions, as text
//! - [`network`]: a guest's network, as text
//! - [`spec`]: description and outcome of a VM, as files
//! - [`vmm`]: the VMM's command line
//! - [`lines`]: a process's output, line by line
//! - [`guest`]: the guest's console, and the VMM's end
//! - [`app`]: a program that sends no messages, and its end
//! - [`client`]: a command that uses the program
//! - [`follow`]: the guest's messages, and what each makes the host do
//! - [`memory`]: the guest's memory as the host sees it
//! - [`moving`], [`instants`]: a guest that moves to another VMM while it works, and when
//! - [`monitor`], [`sockets`]: QEMU's monitor, and where the VMM's parts listen
//! - [`pager`]: talking to the pager inside the VMM
//! - [`swap`]: the host's own swap in place of the pager
//! - [`trace`]: the host kernel's own count of async page faults
//! - [`samples`], [`record`]: an experiment's samples while they come, and as a file

mod app;
pub mod client;
pub mod evict;
mod follow;
pub mod guest;
mod instants;
pub mod latency;
mod lines;
mod memory;
mod monitor;
mod moving;
pub mod network;
mod pager;
pub mod record;
mod samples;
mod sockets;
pub mod spec;
pub mod swap;
pub mod trace;
mod vmm;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

pub use app::CONSOLE_PREFIX;
pub use follow::PROGRESS_PREFIX;
use spec::Spec;

/// `cargo xtask drive`, called by other verbs only.
#[derive(Debug, Args)]
pub struct DriveArgs {
    /// Specification of the VM
    spec: PathBuf,
    /// Folder for the outcome and the guest's console
    out: PathBuf,
}

/// Runs the VM that a specification describes and writes its outcome.
///
/// # Errors
/// Anything that keeps the guest from reaching its end, in one line.
pub fn run(args: &DriveArgs) -> Result<()> {
    let spec: Spec = spec::read_json(&args.spec)?;
    let outcome = match &spec.app {
        Some(app) => app::follow(&spec, app, &args.out)?,
        None => follow::follow(&spec, &args.out)?,
    };
    spec::write_json(&outcome, &args.out.join(spec::OUTCOME))
}

/// Removes what an earlier run left, so that nothing old is taken for new.
pub fn clean(out: &Path) {
    for name in [spec::OUTCOME, spec::CONSOLE, client::LOG, spec::PROFILE, record::RECORD] {
        let _ = fs::remove_file(out.join(name));
    }
}
