//! One VM from its start to its end: the guest's messages, and what each makes the host do.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apf_report::document::Boot;
use apf_vocabulary::grid::Point;
use apf_vocabulary::pager::{Eviction, Latency, Parts};
use apf_vocabulary::{Counters, Fault, Message, Mode};

use super::guest::{Guest, Line};
use super::memory::Memory;
use super::moving::Moving;
use super::samples::Samples;
use super::sockets::Sockets;
use super::spec::{CONSOLE, Outcome, Spec};
use super::swap::Swap;
use super::trace::Trace;
use super::vmm::{self, Boots};
use crate::dirs;

/// Start of a line that reports progress.
pub const PROGRESS_PREFIX: &str = "@progress ";
/// Time between two reports of progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// Time between two looks at the pages that have come in, while the guest is to be moved.
const POLL: Duration = Duration::from_millis(5);

/// Starts the VM of `spec`, and follows it to its end.
///
/// # Errors
/// Anything that keeps the guest from reaching its end.
pub fn follow(spec: &Spec, out: &Path) -> Result<Outcome> {
    let scratch = dirs::scratch("drive")?;
    let sockets = Sockets::new(scratch.path(), 0);
    let trace = Trace::start();
    let swap = spec.swap.then(|| Swap::start(spec.page_latency.mean(), spec.memory_mib * 2)).transpose()?;
    let start = if spec.may_move() { Guest::start_to_move } else { Guest::start };
    let start = || start(vmm::command(spec, &sockets, Boots::Image), &out.join(CONSOLE));
    let guest = swap.as_ref().map_or_else(start, |swap| swap.inside(start))?;
    let unavailable = trace.as_ref().err().map(|error| format!("{error:#}"));
    let moving = spec.may_move().then(|| Moving::new(scratch.path(), &sockets)).transpose()?;
    let mut vm = Vm {
        spec,
        out,
        memory: Memory::new(sockets.pager, swap, trace.ok(), guest.id()),
        moving,
        guest,
        outcome: Outcome { host_trace_unavailable: unavailable, ..Outcome::default() },
        activity: Activity::Preparing,
        tsc_mhz: 0,
        served_before: 0,
        progress: (0, 0),
        last_sign: Instant::now(),
        told: Instant::now(),
    };
    let ended = vm.until_the_end().map_err(|error| vm.guest.explain(error));
    match &vm.activity {
        Activity::Checking(check) => ended.with_context(|| format!("the check `{check}` did not end"))?,
        _ => ended?,
    }
    Ok(vm.outcome)
}

/// Activity of the guest.
enum Activity {
    /// It starts, or prepares its next check.
    Preparing,
    /// An experiment's samples are under way.
    Sampling(Box<Samples>),
    /// The check of this name is under way.
    Checking(String),
    /// All of its work is done, and it ends.
    Done,
}

/// A VM that runs.
struct Vm<'a> {
    spec: &'a Spec,
    out: &'a Path,
    memory: Memory,
    /// If it moves to other VMMs.
    moving: Option<Moving>,
    guest: Guest,
    outcome: Outcome,
    activity: Activity,
    /// Frequency of the guest's time-stamp counter.
    tsc_mhz: u32,
    /// Pages served before the current eviction.
    served_before: u64,
    /// Pages served, and bytes of the console, when the guest last made progress.
    progress: (u64, u64),
    /// Time of that progress.
    last_sign: Instant,
    /// Time of the last report.
    told: Instant,
}

impl Vm<'_> {
    fn until_the_end(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.spec.limit();
        loop {
            if Instant::now() > deadline {
                bail!("the guest did not end within {} s", self.spec.limit().as_secs());
            }
            let is_due = |moving: &Moving| moving.is_expected();
            let patience = if self.moving.as_ref().is_some_and(is_due) { POLL } else { PROGRESS };
            match self.guest.next(patience)? {
                Line::None => {
                    self.move_if_due()?;
                    if self.told.elapsed() >= PROGRESS {
                        self.told = Instant::now();
                        self.tell_progress()?;
                    }
                }
                Line::Text(line) => {
                    self.line(&line)?;
                    self.last_sign = Instant::now();
                }
                Line::End(status) => {
                    let is_done = matches!(self.activity, Activity::Done);
                    if !is_done || !vmm::succeeded(self.spec, status) {
                        let said = if is_done { "" } else { " before its work was done" };
                        bail!("the VMM ended{said}");
                    }
                    return Ok(());
                }
            }
        }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        match Message::parse(line) {
            Some(Ok(message)) => self.take(message),
            Some(Err(error)) => bail!("the guest said something that cannot be read ({error})"),
            None => {
                if self.spec.show_console {
                    println!("{line}");
                }
                Ok(())
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Hello { tsc_mhz, cores, entry, kernel, .. } => {
                self.tsc_mhz = tsc_mhz;
                self.outcome = Outcome { cores, entry, kernel, ..std::mem::take(&mut self.outcome) };
                progress(&format!("the guest is up: {cores} core(s)"));
            }
            Message::ServiceOff { reason } => bail!("the guest's service stayed off: {reason}"),
            Message::Evict { request, .. } if self.memory.is_swapped() => self.push_out(request)?,
            Message::Evict { request, only, local, page_latency_us, seed } => {
                let local = local.map(|share| Eviction::Resident { share });
                self.evict(only, local, page_latency_us, seed, request)?;
            }
            Message::Restore { request } => self.restore(request)?,
            Message::Attack { request, attack } => self.memory.attack(attack, request)?,
            Message::Samples { total } => {
                let samples = Samples::start(self.spec, self.out, self.tsc_mhz, total)?;
                self.activity = Activity::Sampling(Box::new(samples));
            }
            Message::SampleBegins { mode, point } => self.sample_begins(mode, point)?,
            Message::SampleMeasured { request } => self.sample_measured(request)?,
            Message::Sample { mut sample, faults } => {
                if let Some(moving) = &mut self.moving {
                    moving.end(self.spec, &sample)?;
                }
                sample.faults = faults.into_iter().map(Fault::from).collect();
                self.samples()?.sample(*sample)?;
            }
            Message::Compared { pages, wrong, counters } => {
                let Counters { most_waiting, most_outstanding, .. } = counters;
                let compared =
                    Boot { compared_pages: pages, wrong_pages: wrong, most_waiting, most_outstanding };
                self.samples()?.end(compared)?;
            }
            Message::CheckBegins { name } => {
                progress(&format!("check {name}"));
                self.activity = Activity::Checking(name);
            }
            Message::Check(check) => {
                self.activity = Activity::Preparing;
                self.outcome.checks.push(check);
            }
            Message::Counted { mut counters, played } => {
                counters.ready = counters
                    .ready
                    .checked_sub(played)
                    .context("the guest counted fewer ready events than it raised itself")?;
                self.outcome.counted = Some((counters, self.memory.traced()?.unwrap_or_default()));
            }
            Message::Done => self.activity = Activity::Done,
        }
        Ok(())
    }

    fn samples(&mut self) -> Result<&mut Samples> {
        match &mut self.activity {
            Activity::Sampling(samples) => Ok(samples),
            _ => bail!("the guest sent a sample, but no experiment has started"),
        }
    }

    fn evict(
        &mut self,
        only: Option<Parts>,
        kind: Option<Eviction>,
        micros: Option<u64>,
        seed: u64,
        request: u64,
    ) -> Result<()> {
        let spec = self.spec;
        let eviction = match (kind, &self.activity) {
            (Some(kind), _) => kind,
            (None, Activity::Sampling(samples)) if samples.is_running() => spec.evict.kind.clone(),
            // Beside samples the cost of a fault is measured: all goes.
            (None, Activity::Sampling(_)) => Eviction::All,
            _ => {
                let what = only.as_ref().map_or("all", |_| "some");
                progress(&format!("evicting {what} of the guest's memory"));
                Eviction::All
            }
        };
        let constant = micros.map(|micros| Latency::Constant { micros });
        let latency = constant.as_ref().unwrap_or(&spec.page_latency.model);
        let (out, counts) = self.memory.evict(only, eviction, latency, spec.seed ^ seed, request)?;
        self.served_before = counts.pager.served_pages;
        if let Activity::Sampling(samples) = &mut self.activity {
            if let Some(moving) = &mut self.moving
                && samples.is_running()
            {
                moving.begin(spec, samples.parameter("pages"), seed);
            }
            samples.evicted(out, counts);
        }
        Ok(())
    }

    /// Moves the guest to another VMM, if that is due.
    fn move_if_due(&mut self) -> Result<()> {
        let Some(moving) = self.moving.as_mut().filter(|moving| moving.is_expected()) else { return Ok(()) };
        let Some(stats) = self.memory.paged() else { return Ok(()) };
        let served = stats.served_pages - self.served_before;
        if moving.has_come(served) {
            let under_way = stats.in_flight;
            progress(&format!("moving the guest, after {served} pages and with {under_way} under way"));
            moving.act(self.spec, &mut self.guest, &mut self.memory)?;
            self.last_sign = Instant::now();
        }
        Ok(())
    }

    fn push_out(&mut self, request: u64) -> Result<()> {
        let page_cluster = self.samples()?.parameter("page_cluster");
        let page_cluster = page_cluster.context("swap takes memory from samples with a page_cluster only")?;
        let (out, counts) = self.memory.push_out(page_cluster, request)?;
        self.samples()?.evicted(out, counts);
        Ok(())
    }

    fn restore(&mut self, request: u64) -> Result<()> {
        progress("bringing everything back");
        self.moving.iter_mut().for_each(Moving::pause);
        if let Activity::Sampling(samples) = &mut self.activity {
            samples.restoring(self.memory.swapped()?);
        }
        self.memory.restore(request)
    }

    fn sample_begins(&mut self, mode: Mode, point: Point) -> Result<()> {
        let counts = self.memory.counts()?;
        let samples = self.samples()?;
        samples.sample_begins(mode, point, counts);
        progress(&samples.progress());
        Ok(())
    }

    fn sample_measured(&mut self, request: u64) -> Result<()> {
        self.moving.iter_mut().for_each(Moving::pause);
        self.memory.end_evictions()?;
        let counts = self.memory.counts()?;
        self.samples()?.measured(counts);
        self.memory.acknowledge(request)
    }

    fn tell_progress(&mut self) -> Result<()> {
        let mut served = 0;
        // While the guest prepares itself there is no pager to ask.
        if let Some(stats) = self.memory.paged() {
            let name = match &self.activity {
                Activity::Sampling(samples) => Some(samples.progress()),
                Activity::Checking(name) => Some(name.clone()),
                Activity::Preparing | Activity::Done => None,
            };
            if let Some(name) = name {
                let now = stats.served_pages - self.served_before;
                progress(&format!("{name}: {now} pages came in, {} under way", stats.in_flight));
            }
            served = stats.served_pages;
        }
        let seen = (served, self.guest.heard());
        if seen != self.progress {
            (self.progress, self.last_sign) = (seen, Instant::now());
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
