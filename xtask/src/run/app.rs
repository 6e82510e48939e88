//! `cargo xtask run --app ELF`: any Hermit program, its memory evicted or not.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::report::{FILE, Report};
use super::working_set::WorkingSetFile;
use crate::drive::client::Client;
use crate::drive::evict::Taken;
use crate::drive::latency::PageLatency;
use crate::drive::network::{Forward, Network};
use crate::drive::spec::{App, Spec, Vmm};
use crate::image;
use crate::options::{GuestOptions, HostOptions, PagingOptions};
use crate::output;
use crate::place::Place;

/// Time from a fault to its page, unless the user says otherwise.
const PAGE_LATENCY: Duration = Duration::from_millis(5);
const MEMORY_MIB: u32 = 256;
/// A program ends when it wants to.
const WORK: Duration = Duration::from_secs(30 * 24 * 3600);

/// A program that is run in the place of the experiment.
#[derive(Clone, Debug, Args)]
pub struct AppOptions {
    /// Run this Hermit program in place of the experiment, with this console as its own, until it ends;
    /// its arguments follow `--`, and its exit code is returned
    #[arg(
        long,
        value_name = "ELF",
        conflicts_with_all = ["tasks", "pages", "region_mib", "exact", "log", "console", "restores", "migrations"]
    )]
    pub app: Option<PathBuf>,
    /// With --app: evict memory this long after the VMM has started, as --evict says [default: never]
    #[arg(long, value_name = "TIME", requires = "app", value_parser = humantime::parse_duration)]
    evict_after: Option<Duration>,
    /// With --app, under QEMU: a network card, in a network of its own (`user`) or in that of a tap device. In the lab
    /// `tap` needs no name, and the guest has the address 10.0.5.3
    #[arg(
        long,
        value_name = "user|tap:NAME",
        requires = "app",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "user"
    )]
    net: Option<Network>,
    /// With --net: a TCP port of this machine, and the guest's port that it leads to (may be repeated). In the
    /// lab, a port of the lab, for --client
    #[arg(long, value_name = "HOST:GUEST", requires = "net")]
    forward: Vec<Forward>,
    /// With --app: a shell command to run beside the program, which ends when the command has. A line
    /// `@evict`, `@counts` or `@learn` of its output is a request, answered by a line of its input (docs/images.md)
    #[arg(long, value_name = "COMMAND", requires = "app")]
    client: Option<String>,
    /// With --app: a file with the pages that an earlier run has shown to be needed; after an eviction or a restore they
    /// come in ahead of their faults. It is made, or made anew, when the client asks for `@learn`
    #[arg(long, value_name = "FILE", requires = "app")]
    working_set: Option<PathBuf>,
    /// With --client: the program's line with this text starts it [default: it starts with the VMM]
    #[arg(long, value_name = "TEXT", requires = "client")]
    client_at: Option<String>,
}

impl AppOptions {
    fn network(&self) -> Result<Option<Network>> {
        Ok(match self.net.clone() {
            Some(Network::User(_)) => Some(Network::User(self.forward.clone())),
            network => {
                ensure!(
                    self.forward.is_empty(),
                    "--forward needs --net=user: a tap device leads to the guest itself"
                );
                network
            }
        })
    }

    fn client(&self) -> Result<Option<Client>> {
        let Some(command) = self.client.clone() else { return Ok(None) };
        let folder = env::current_dir().context("the current folder is gone")?;
        Ok(Some(Client { command, at: self.client_at.clone(), folder }))
    }
}

/// Runs the program `app` and returns its exit code, or that of its client.
///
/// # Errors
/// It is no Hermit program, cannot be run as asked, or ends without an exit code.
pub fn run(
    app: &Path,
    options: &AppOptions,
    paging: &PagingOptions,
    host: &HostOptions,
    guest: &GuestOptions,
) -> Result<u8> {
    let network = options.network()?;
    let vmm = guest.vmm.unwrap_or(if network.is_some() { Vmm::Qemu } else { Vmm::Uhyve });
    // A user's mistake is reported before anything is installed, built or written.
    let program = image::app::App::read(app)?.bytes;
    let app = app.canonicalize().with_context(|| format!("cannot find {}", app.display()))?;
    ensure!(network.is_none() || vmm == Vmm::Qemu, "--net needs --vmm qemu: uhyve has no network");
    let verdict = host.verdict()?;
    let in_lab = verdict.is_lab();
    if options.client.is_none() || !in_lab {
        options.forward.iter().try_for_each(|forward| forward.check())?;
    }
    if in_lab && options.client.is_none() && !options.forward.is_empty() {
        eprintln!(
            "note: the lab has no network to this machine, so that only a --client reaches a forwarded port"
        );
    }
    let memory_mib = guest.memory_mib(MEMORY_MIB, 32, "a Hermit program")?;
    let cores = guest.cores(1, false)?;
    ensure!(
        options.working_set.is_none() || vmm == Vmm::Qemu,
        "--working-set needs --vmm qemu: uhyve puts a program at another address in each run"
    );
    let working_set = options.working_set.as_deref();
    let working_set =
        working_set.map(|file| WorkingSetFile::open(file, &program, (memory_mib, cores))).transpose()?;
    let page_latency = paging.latency.page_latency.clone();
    let page_latency = page_latency.unwrap_or_else(|| PageLatency::constant(PAGE_LATENCY));
    paging.evict.leaves_time_for(page_latency.mean(), Taken::Everything)?;
    let out = guest.folder("app-run", "")?;
    output::check(&out, &[FILE])?;
    let place = Place::for_app(verdict, host, vmm, &app)?;
    let spec = Spec {
        evict: paging.evict.clone(),
        work: WORK,
        show_console: true,
        app: Some(App {
            evict_after: options.evict_after,
            network,
            client: options.client()?,
            working_set: working_set.as_ref().map(|file| file.pages().to_vec()).unwrap_or_default(),
        }),
        ..place.spec(vmm, guest, (memory_mib, cores), page_latency)?
    };
    let mut outcome = place.drive(&spec, &out.join("run"))?;
    let learnt = outcome.app.as_mut().and_then(|ended| ended.learnt.take());
    if let (Some(file), Some(pages)) = (working_set, learnt) {
        file.write(pages)?;
    }
    let report =
        Report::new(&spec, &place.verdict, outcome).context("the driver said nothing of the program")?;
    report.write(&out)?;
    // Standard output is the program's.
    eprintln!("\n{}\n\nreport: {}", report.text(), out.join(FILE).display());
    Ok(report.exit_code())
}
