//! Driving one VM: the same program does it natively and inside the lab.
//!
//! - [`latency`]: how long page-ins take, as text
//! - [`evict`]: which pages evictions take, as text
//! - [`spec`]: what to run, and what came of it, as files
//! - [`vmm`]: the VMM's command line
//! - [`guest`]: the guest's console, line by line
//! - [`pager`]: talking to the pager inside the VMM
//! - [`samples`], [`record`]: an experiment's samples while they come, and as a file
//! - [`swap`]: the host's own swap in place of the pager
//! - [`trace`]: the host kernel's own count of async page faults

pub mod evict;
pub mod guest;
pub mod latency;
mod pager;
pub mod record;
mod samples;
pub mod spec;
pub mod swap;
mod trace;
mod vmm;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apf_vocabulary::{Fault, Message, Mode};
use clap::Args;

use crate::dirs;
use crate::process::{Scratch, command};
use evict::Eviction;
use guest::{Guest, Line};
use latency::Latency;
use pager::Pager;
use samples::{Counts, Samples};
use spec::{HostCounts, Outcome, PassOutcome, Spec};
use swap::Swap;
use trace::Trace;

/// How often the pager is asked how far it is.
const PROGRESS: Duration = Duration::from_secs(1);
/// A page that is looked at all the time is in memory before long.
const MAILBOX_LIMIT: Duration = Duration::from_secs(20);
/// Marks a line of this program that tells how far it is.
pub const PROGRESS_PREFIX: &str = "@progress ";

/// `cargo xtask drive`, called by `run` only.
#[derive(Debug, Args)]
pub struct DriveArgs {
    /// What to run
    spec: PathBuf,
    /// Folder for the outcome and the guest's console
    out: PathBuf,
}

/// Runs the VM that a specification describes and writes its outcome.
///
/// # Errors
/// Anything that keeps the guest from reaching its end, in one line.
pub fn run(args: &DriveArgs) -> Result<()> {
    let spec = Spec::read(&args.spec)?;
    let outcome = Drive::start(&spec, &args.out)?.follow()?;
    outcome.write(&args.out)
}

struct Drive<'a> {
    spec: &'a Spec,
    guest: Guest,
    pager: Pager,
    trace: Option<Trace>,
    outcome: Outcome,
    /// The pass that is running, and the host's counts at its begin.
    current: Option<(Mode, HostCounts)>,
    /// Pages served before the current eviction.
    served_before: u64,
    served: u64,
    /// When the guest last said anything or touched a page that was out.
    last_sign: Instant,
    /// The check that is running.
    check: Option<String>,
    /// The experiment that is running.
    samples: Option<Samples>,
    /// In place of the pager, which then only acknowledges.
    swap: Option<Swap>,
    out: &'a Path,
    done: bool,
    _scratch: Scratch,
}

impl<'a> Drive<'a> {
    fn start(spec: &'a Spec, out: &'a Path) -> Result<Self> {
        let scratch = dirs::scratch("drive")?;
        let socket = scratch.path().join("pager");
        let trace = Trace::start();
        let swap = spec.swap.as_deref().map(Swap::begin).transpose()?;
        let start = || Guest::start(vmm::command(spec, &socket), &out.join(spec::CONSOLE));
        let guest = swap.as_ref().map_or_else(start, |swap| swap.inside(start))?;
        let mut outcome = Outcome::default();
        let trace = match trace {
            Ok(trace) => Some(trace),
            Err(error) => {
                outcome.host_trace_unavailable = Some(format!("{error:#}"));
                None
            }
        };
        let pager = Pager::new(socket);
        Ok(Self {
            spec,
            guest,
            pager,
            trace,
            outcome,
            current: None,
            served_before: 0,
            served: 0,
            last_sign: Instant::now(),
            check: None,
            samples: None,
            swap,
            out,
            done: false,
            _scratch: scratch,
        })
    }

    fn follow(mut self) -> Result<Outcome> {
        let ended = self.until_the_end();
        match &self.check {
            Some(check) => ended.with_context(|| format!("the check `{check}` did not end"))?,
            None => ended?,
        }
        Ok(self.outcome)
    }

    fn until_the_end(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.spec.limit();
        loop {
            if Instant::now() > deadline {
                bail!("the guest did not end within {} s", self.spec.limit().as_secs());
            }
            let next = self.guest.next(PROGRESS)?;
            if !matches!(next, Line::None) {
                self.last_sign = Instant::now();
            }
            match next {
                Line::None => self.tell_progress()?,
                Line::End(status) => {
                    if !vmm::succeeded(self.spec, status) || !self.done {
                        let said = if self.done { "" } else { " before its work was done" };
                        bail!("the VMM ended{said} ({})", command::describe(status));
                    }
                    return Ok(());
                }
                Line::Text(line) => match Message::parse(&line) {
                    None => {
                        if self.spec.show_console {
                            println!("{line}");
                        }
                    }
                    Some(Ok(message)) => self.take(message)?,
                    Some(Err(error)) => {
                        bail!("the guest said something that cannot be read ({error})")
                    }
                },
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Hello { tsc_mhz, cores, region_pages, pages, entry, kernel } => {
                (self.outcome.tsc_mhz, self.outcome.cores) = (tsc_mhz, cores);
                (self.outcome.entry, self.outcome.kernel) = (entry, kernel);
                let work = if pages > 0 {
                    format!(", {pages} of {region_pages} pages to read")
                } else {
                    String::new()
                };
                progress(&format!("the guest is up: {cores} core(s){work}"));
            }
            Message::ServiceOff { reason } => {
                progress(&format!("the service is off: {reason}"));
                self.outcome.service_off = Some(reason);
            }
            Message::Begin { mode } => self.current = Some((mode, self.host_counts()?)),
            Message::Evict { request, .. } if self.swap.is_some() => self.push_out(request)?,
            Message::Evict { request, only, page_latency_us, seed } => {
                if self.samples.is_none() {
                    let what = only.as_ref().map_or("all", |_| "some");
                    progress(&format!("paging out {what} of the guest's memory"));
                }
                self.pager.attach()?;
                let constant = page_latency_us.map(|micros| Latency::Constant { micros });
                let latency = constant.as_ref().unwrap_or(self.spec.page_latency.model());
                self.pager.set_latency(latency, self.spec.seed ^ seed)?;
                // What is evicted beside samples measures the cost of a fault: all of it.
                let measured = self.samples.as_ref().is_none_or(Samples::is_running);
                let eviction = if measured { self.spec.evict.kind().clone() } else { Eviction::All };
                let evicted = self.pager.evict(only, eviction, self.spec.seed ^ seed, request)?;
                if evicted.mailboxes == 0 {
                    bail!("the pager did not find the guest's mailbox in its memory");
                }
                let stats = self.pager.stats()?;
                self.served_before = stats.served_pages;
                if let Some(samples) = &mut self.samples {
                    samples.evicted(evicted.evicted_pages, Counts { pager: stats, ..Counts::default() });
                }
                self.last_sign = Instant::now();
            }
            Message::Restore { request } => {
                progress("bringing everything back");
                self.pager.attach()?;
                match &self.swap {
                    Some(swap) => {
                        swap.bring_back()?;
                        self.acknowledge(request)?;
                    }
                    None => _ = self.pager.restore(request)?,
                }
                self.last_sign = Instant::now();
            }
            Message::Samples { total } => {
                self.samples = Some(Samples::begin(self.spec, self.out, self.outcome.tsc_mhz, total)?);
            }
            Message::SampleBegins { mode, point } => {
                let counts = self.counts()?;
                self.samples()?.sample_begins(mode, point, counts);
                progress(&self.samples()?.progress());
            }
            Message::SampleMeasured { request } => {
                self.pager.end_evictions()?;
                let counts = self.counts()?;
                self.samples()?.measured(counts);
                self.acknowledge(request)?;
            }
            Message::Sample { mut sample, faults } => {
                sample.faults = faults.into_iter().map(Fault::from).collect();
                self.samples()?.sample(*sample)?;
            }
            Message::CheckBegins { name } => {
                progress(&format!("check {name}"));
                self.check = Some(name);
            }
            Message::Check(check) => {
                self.check = None;
                self.outcome.checks.push(check);
            }
            Message::Counted { mut counters, played } => {
                counters.ready -= played;
                self.outcome.counted = Some((counters, self.host_counts()?));
            }
            Message::Histogram(histogram) => self.outcome.histograms.push(histogram),
            Message::Pass(pass) => {
                let now = self.host_counts()?;
                let begin = self.current.take().filter(|(mode, _)| *mode == pass.mode);
                let host = begin.map(|(_, begin)| now.since(&begin)).context("a pass that never began")?;
                progress(&format!("{}: {:.1} s", pass.mode.name(), pass.seconds));
                self.outcome.passes.push(PassOutcome { pass, host });
            }
            Message::Done => self.done = true,
        }
        Ok(())
    }

    fn samples(&mut self) -> Result<&mut Samples> {
        self.samples.as_mut().context("a sample of no experiment")
    }

    /// Has the host's own swap take all that goes.
    fn push_out(&mut self, request: u64) -> Result<()> {
        self.pager.attach()?;
        let swap = self.swap.as_ref().context("no swap")?;
        let samples = self.samples.as_mut().context("swap takes memory from samples only")?;
        swap.set_page_cluster(samples.parameter("page_cluster").context("no page_cluster")?)?;
        swap.push_out()?;
        let counts = swap.counts(self.guest.id())?;
        samples.evicted(counts.out_pages, Counts { swap: Some(counts), ..Counts::default() });
        self.acknowledge(request)
    }

    /// Lets the guest go on, which looks at its mailbox all the time.
    fn acknowledge(&mut self, request: u64) -> Result<()> {
        let started = Instant::now();
        while !self.pager.acknowledge(request)? {
            if started.elapsed() > MAILBOX_LIMIT {
                bail!("the pager did not find the guest's mailbox in its memory");
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.last_sign = Instant::now();
        Ok(())
    }

    fn counts(&mut self) -> Result<Counts> {
        Ok(Counts {
            trace: self.traced_counts()?,
            // Before the first eviction there is none to ask.
            pager: self.pager.stats().unwrap_or_default(),
            swap: self.swap.as_ref().map(|swap| swap.counts(self.guest.id())).transpose()?,
        })
    }

    fn host_counts(&mut self) -> Result<HostCounts> {
        Ok(self.traced_counts()?.unwrap_or_default())
    }

    fn traced_counts(&mut self) -> Result<Option<HostCounts>> {
        self.trace.as_ref().map(|trace| trace.counts(self.guest.id())).transpose()
    }

    fn tell_progress(&mut self) -> Result<()> {
        // While the guest prepares itself there is no pager to ask.
        if let Ok(stats) = self.pager.stats() {
            let name = self.current.as_ref().map(|(mode, _)| mode.name()).or(self.check.as_deref());
            if let Some(name) = name {
                let served = stats.served_pages - self.served_before;
                progress(&format!("{name}: {served} pages came in, {} under way", stats.in_flight));
            }
            if let Some(samples) = &self.samples {
                progress(&samples.progress());
            }
            if stats.served_pages != self.served {
                self.served = stats.served_pages;
                self.last_sign = Instant::now();
            }
        }
        let limit = self.spec.quiet_limit();
        if self.last_sign.elapsed() > limit {
            bail!(
                "the guest hangs: for {} s it has said nothing and touched no page that was out",
                limit.as_secs()
            );
        }
        Ok(())
    }
}

fn progress(text: &str) {
    println!("{PROGRESS_PREFIX}{text}");
}

/// Removes what an earlier run left, so that nothing old is taken for new.
pub fn clean(out: &Path) {
    for name in [spec::OUTCOME, spec::CONSOLE, spec::PROFILE, record::RECORD] {
        let _ = fs::remove_file(out.join(name));
    }
}
