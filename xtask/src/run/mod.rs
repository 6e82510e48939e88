//! `cargo xtask run`: an experiment from nothing to its report.
//!
//! - [`place`]: the driver's process, here or in the lab

mod firmware;
pub mod place;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use crate::drive::evict::{Evict, Taken};
use crate::drive::latency::PageLatency;
use crate::drive::spec::{Spec, System, Vmm};
use crate::probe::{self, Host, Verdict};
use crate::report::Document;
use crate::setup::{self, Needs, Tools};
use crate::{build, dirs, guest_memory};

/// Memory that the guest needs beside what it fills: image, page tables, stacks.
const BESIDE_MIB: u64 = 48;

/// An experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Experiment {
    /// Tasks read paged-out memory at random while one computes; async, then blocked
    Default,
    /// Checks of each context that a fault can interrupt, every register compared
    Contexts,
    /// Checks of what passes between cores: wake-ups, and readies for another core's faults
    Cores,
}

impl Experiment {
    /// Its name in reports, and for the guest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Contexts => "contexts",
            Self::Cores => "cores",
        }
    }

    /// Time from a fault to its page, unless the user says otherwise.
    const fn page_latency(self) -> Duration {
        match self {
            Self::Default => Duration::from_millis(20),
            Self::Contexts | Self::Cores => Duration::from_millis(3),
        }
    }

    /// The guest's virtual CPUs, unless the user says otherwise.
    const fn cores(self) -> u32 {
        match self {
            Self::Default | Self::Contexts => 1,
            Self::Cores => 2,
        }
    }
}

/// `cargo xtask run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What to run
    #[arg(value_enum, default_value_t = Experiment::Default)]
    pub experiment: Experiment,
    /// Where guests run
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub host: Host,
    /// One instruction is one nanosecond, whatever else the machine does: slow, in the lab
    /// only, under uhyve, one core
    #[arg(long)]
    pub exact: bool,
    /// What boots the guest
    #[arg(long, value_enum, default_value_t = Vmm::Uhyve)]
    pub vmm: Vmm,
    /// Time from a fault to its page, or how it is distributed: 20ms, uniform:1ms..5ms,
    /// exponential:20ms, lognormal:20ms,0.5, bimodal:1ms,50ms,0.1, replay:FILE
    /// [default: 20ms, for contexts 3ms]
    #[arg(long, value_name = "LATENCY")]
    pub page_latency: Option<PageLatency>,
    /// Which pages go out, and how often, in the experiment default: all, fraction:0.25,
    /// periodic:10s, periodic:2s,0.25, lru:0.5
    #[arg(long, value_name = "KIND", default_value = "all")]
    pub evict: Evict,
    /// Tasks that read [default: 32 on one virtual CPU, 64 for each of several]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub tasks: Option<u16>,
    /// Pages read while the clock runs, in each of the two passes
    #[arg(long, default_value_t = 2560, value_parser = clap::value_parser!(u32).range(1..))]
    pub pages: u32,
    /// Memory filled with fingerprints, in MiB; all of it is compared in the end
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub region_mib: u16,
    /// The guest's memory [default: 256MiB, or what the tasks need]
    #[arg(long)]
    pub memory: Option<ByteSize>,
    /// The guest's virtual CPUs [default: 1, for cores 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: Option<u32>,
    /// Seed of contents, order and latencies
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Show the service's events of this level and above on the guest's console
    #[arg(long, default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log: String,
    /// Show the guest's console
    #[arg(long)]
    pub console: bool,
    /// Folder for the report and for what the guest prints [default: target/apf]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// More arguments for the VMM, before the image (may be repeated)
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub vmm_arg: Vec<String>,
    /// More arguments for the guest's program
    #[arg(last = true)]
    pub guest_args: Vec<String>,
}

/// `cargo xtask run`
///
/// # Errors
/// Something is missing, the guest does not come to its end, or what came out
/// is not right.
pub fn run(args: &RunArgs) -> Result<()> {
    args.check()?;
    let out = args.folder()?;
    let report_file = out.join("report.json");
    // An old report must not be taken for this run's.
    let _ = fs::remove_file(&report_file);
    let verdict = if args.exact { probe::choose_exact(args.host) } else { probe::choose(args.host) }?;
    println!("host: {verdict}");
    let lab = matches!(verdict, Verdict::Lab { .. });
    let (uhyve, qemu) = (args.vmm == Vmm::Uhyve, args.vmm == Vmm::Qemu);
    let tools = setup::ensure(Needs { guest: true, uhyve, qemu, lab, ..Needs::default() })?;
    let built = build::all(&tools)?;
    let spec = args.spec(&built, vmm_program(args.vmm, &tools)?);
    let outcome = place::drive(&spec, &verdict, &tools, &out.join("run"))?;
    let report = Document::new(args, &verdict, &spec, &outcome)?;
    report.write(&report_file)?;
    println!("\n{}", report.text());
    println!("\nreport: {}", report_file.display());
    let wrong = report.failures();
    if !wrong.is_empty() {
        bail!("the result is not right: {}", wrong.join("; "));
    }
    Ok(())
}

/// The program that boots the guest.
///
/// # Errors
/// It is not there.
pub fn vmm_program(vmm: Vmm, tools: &Tools) -> Result<PathBuf> {
    Ok(match vmm {
        Vmm::Uhyve => tools.uhyve()?.clone(),
        Vmm::Qemu => tools.qemu()?.path.clone(),
    })
}

/// Whether `--exact` can run a guest of so many cores.
///
/// # Errors
/// It cannot.
pub fn fit_for_exact(cores: u32) -> Result<()> {
    if cores > 1 {
        bail!("--exact runs guests of one core, not {cores}: the exact lab has one processor");
    }
    Ok(())
}

impl RunArgs {
    /// The folder for what is written, made if missing.
    fn folder(&self) -> Result<PathBuf> {
        let Some(dir) = &self.out else { return dirs::sub("") };
        fs::create_dir_all(dir)
            .and_then(|()| dir.canonicalize())
            .with_context(|| format!("--out {} cannot be a folder", dir.display()))
    }

    fn region_pages(&self) -> u32 {
        u32::from(self.region_mib) * apf_vocabulary::page::PAGES_PER_MIB
    }

    fn memory_mib(&self) -> u64 {
        let default = 256.max(guest_memory::for_tasks(self.tasks()).into());
        self.memory.map_or(default, |memory| memory.as_u64() >> 20)
    }

    fn page_latency(&self) -> PageLatency {
        let default = || PageLatency::constant(self.experiment.page_latency());
        self.page_latency.clone().unwrap_or_else(default)
    }

    fn cores(&self) -> u32 {
        self.smp.unwrap_or(self.experiment.cores())
    }

    /// Tasks that read.
    pub fn tasks(&self) -> u16 {
        let all = |cores: u32| u16::try_from(64 * cores).unwrap_or(u16::MAX).min(1024);
        self.tasks.unwrap_or(if self.cores() == 1 { 32 } else { all(self.cores()) })
    }

    /// Pages that the guest reads, as far as its time limit is concerned.
    const fn pages_to_wait_for(&self) -> u32 {
        /// Most are read by the checks of registers, some hundred each.
        const OF_ALL_CHECKS: u32 = 3000;
        match self.experiment {
            Experiment::Default => self.pages,
            Experiment::Contexts | Experiment::Cores => OF_ALL_CHECKS,
        }
    }

    /// What no command-line parser can see.
    fn check(&self) -> Result<()> {
        if self.exact {
            fit_for_exact(self.cores())?;
        }
        if self.pages > self.region_pages() {
            bail!(
                "--pages {} is more than --region-mib {} has ({})",
                self.pages,
                self.region_mib,
                self.region_pages()
            );
        }
        let needed = u64::from(self.region_mib) + BESIDE_MIB;
        if self.memory_mib() < needed {
            bail!(
                "--memory {}MiB is too small for --region-mib {}: give the guest at least {needed}MiB",
                self.memory_mib(),
                self.region_mib
            );
        }
        let for_tasks = u64::from(guest_memory::for_tasks(self.tasks()));
        if self.memory_mib() < for_tasks {
            bail!(
                "--memory {}MiB is too small for {} tasks: give the guest {for_tasks}MiB, or fewer --tasks",
                self.memory_mib(),
                self.tasks()
            );
        }
        if self.memory_mib() > 2048 {
            bail!(
                "--memory {}MiB is more than a guest of this kernel can page: at most 2GiB",
                self.memory_mib()
            );
        }
        self.evict.leaves_time_for(self.page_latency().mean(), Taken::Everything)?;
        if self.experiment != Experiment::Default && !self.evict.is_all() {
            bail!(
                "--evict {} is for the experiment default: the checks of {} page out what they need",
                self.evict,
                self.experiment.name()
            );
        }
        match (self.experiment, self.cores()) {
            (Experiment::Contexts, 2..) => bail!(
                "--smp {} is more than the experiment contexts can judge: it watches who runs on one core",
                self.cores()
            ),
            (Experiment::Cores, 1) => {
                bail!("--smp 1 leaves nothing to check for the experiment cores: it needs two at least")
            }
            _ => {}
        }
        Ok(())
    }

    fn spec(&self, built: &build::Built, program: PathBuf) -> Spec {
        let mut guest_args: Vec<String> = [
            ("--experiment", self.experiment.name().to_owned()),
            ("--tasks", self.tasks().to_string()),
            ("--pages", self.pages.to_string()),
            ("--region-mib", self.region_mib.to_string()),
            ("--seed", self.seed.to_string()),
            ("--log", self.log.clone()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        guest_args.extend(self.guest_args.iter().cloned());
        Spec {
            vmm: self.vmm,
            exact: self.exact,
            profile: false,
            system: System::Hermit,
            program,
            image: built.image.clone(),
            loader: built.loader.clone(),
            pager: built.pager.clone(),
            memory_mib: u32::try_from(self.memory_mib()).unwrap_or(u32::MAX),
            cores: self.cores(),
            page_latency: self.page_latency(),
            evict: self.evict.clone(),
            swap: None,
            seed: self.seed,
            pages: self.pages_to_wait_for(),
            region_pages: self.region_pages(),
            samples_s: 0,
            show_console: self.console,
            vmm_args: self.vmm_arg.clone(),
            kernel_args: vec![],
            guest_args,
        }
    }
}
