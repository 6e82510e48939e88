//! The guest's memory as the host sees it: evicted and brought back by the pager or by
//! swap, and the faults that the host counts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apf_vocabulary::attack::Attack;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Stats};

use super::pager::Pager;
use super::samples::Counts;
use super::spec::{HostCounts, Spec};
use super::swap::{Swap, SwapCounts};
use super::trace::Trace;

/// A page that is looked at all the time is in memory before long.
const MAILBOX_LIMIT: Duration = Duration::from_secs(20);
const NO_MAILBOX: &str = "the pager did not find the guest's mailbox in its memory";

/// Memory of one VM.
pub struct Memory {
    pager: Pager,
    /// In place of the pager, which then only acknowledges.
    swap: Option<Swap>,
    /// `None` where the host's tracing is not accessible.
    trace: Option<Trace>,
    /// The VMM's process.
    vmm: u32,
    /// Counts of the pagers of the guest's earlier VMMs.
    earlier: Stats,
    /// Latency of page-ins, and its seed, since the last eviction.
    latency: Option<(Latency, u64)>,
    /// Pages that come ahead of their faults after an eviction.
    working_set: Vec<u64>,
    /// The attack under way.
    attack: Attack,
}

impl Memory {
    /// Memory of the VMM whose pager listens on `socket`, or will.
    pub fn new(socket: PathBuf, swap: Option<Swap>, trace: Option<Trace>, vmm: u32) -> Self {
        let (pager, earlier) = (Pager::new(socket), Stats::default());
        Self { pager, swap, trace, vmm, earlier, latency: None, working_set: vec![], attack: Attack::None }
    }

    /// Sets the time of page-ins, for a guest that moves before anything is evicted.
    pub fn set_latency(&mut self, latency: &Latency, seed: u64) {
        self.latency = Some((latency.clone(), seed));
    }

    /// Sets the pages that come ahead of their faults after an eviction, by guest-physical address.
    pub fn set_working_set(&mut self, pages: Vec<u64>) {
        self.working_set = pages;
    }

    /// Returns those pages.
    pub fn working_set(&self) -> &[u64] {
        &self.working_set
    }

    /// Returns true if the host's own swap takes the pager's place.
    pub const fn is_swapped(&self) -> bool {
        self.swap.is_some()
    }

    /// Evicts what `eviction` takes of `only`, or of all, and acknowledges `request`. Page-ins
    /// then take `latency`. Returns how many pages are out, and the pager's counts.
    pub fn evict(
        &mut self,
        only: Option<Parts>,
        eviction: Eviction,
        latency: &Latency,
        seed: u64,
        request: u64,
    ) -> Result<(u64, Counts)> {
        let evicted = self.page_out(only, eviction, latency, seed, Some(request))?;
        if evicted.mailboxes == 0 {
            bail!(NO_MAILBOX);
        }
        let pager = self.pager.stats()?.after(&self.earlier);
        Ok((evicted.evicted_pages, Counts { pager, ..Counts::default() }))
    }

    /// Brings back the memory of a guest that is about to leave its VMM.
    pub fn bring_back(&mut self) -> Result<()> {
        self.pager.attach()?;
        self.pager.restore(None).map(drop)
    }

    /// Keeps the counts of a VMM that the guest has left.
    pub fn leave(&mut self) -> Result<()> {
        self.earlier = self.pager.stats()?.after(&self.earlier);
        // The trace remembers the VMM's threads.
        self.traced().map(drop)
    }

    /// Evicts all memory of a guest that has been restored in `vmm`, whose pager listens on
    /// `socket`. Page-ins take as long as before, and the working set is the same.
    pub fn enter(&mut self, socket: PathBuf, vmm: u32) -> Result<u64> {
        (self.pager, self.vmm) = (Pager::new(socket), vmm);
        let (latency, seed) = self.latency.clone().context("nothing was evicted before")?;
        Ok(self.page_out(None, Eviction::All, &latency, seed, None)?.evicted_pages)
    }

    /// Evicts memory of a program that did not ask for it, as `spec` says. Returns the number of pages that
    /// are out.
    pub fn evict_at_will(&mut self, spec: &Spec) -> Result<u64> {
        let kind = spec.evict.kind.clone();
        Ok(self.page_out(None, kind, &spec.page_latency.model, spec.seed, None)?.evicted_pages)
    }

    /// Adds the pages that faults have brought in since the last eviction to those that come ahead of their
    /// faults after each further one. Returns the number of the latter.
    pub fn learn_working_set(&mut self) -> Result<u64> {
        self.pager.attach()?;
        let known: BTreeSet<u64> = self.working_set.iter().copied().collect();
        let touched = self.pager.touched()?;
        self.working_set.extend(touched.into_iter().filter(|page| !known.contains(page)));
        self.pager.bring_ahead(self.working_set.clone())
    }

    fn page_out(
        &mut self,
        only: Option<Parts>,
        eviction: Eviction,
        latency: &Latency,
        seed: u64,
        request: Option<u64>,
    ) -> Result<Evicted> {
        self.latency = Some((latency.clone(), seed));
        self.pager.attach()?;
        self.pager.set_latency(latency, seed)?;
        if !self.working_set.is_empty() {
            self.pager.bring_ahead(self.working_set.clone())?;
        }
        self.pager.evict(only, eviction, seed, request)
    }

    /// Swaps out all that goes, and acknowledges `request`. Swap then reads groups of
    /// 2^`page_cluster` pages.
    pub fn push_out(&mut self, page_cluster: f64, request: u64) -> Result<(u64, Counts)> {
        self.pager.attach()?;
        let swap = self.swap.as_ref().context("no swap")?;
        swap.set_page_cluster(page_cluster)?;
        swap.push_out()?;
        let counts = swap.counts(self.vmm)?;
        self.acknowledge(request)?;
        Ok((counts.out_pages, Counts { swap: Some(counts), ..Counts::default() }))
    }

    /// Brings everything back and acknowledges `request`.
    pub fn restore(&mut self, request: u64) -> Result<()> {
        self.pager.attach()?;
        match &self.swap {
            Some(swap) => {
                swap.bring_back()?;
                self.acknowledge(request)
            }
            None => self.pager.restore(Some(request)).map(drop),
        }
    }

    /// Attacks the guest from now on, and acknowledges `request`.
    ///
    /// # Errors
    /// The attack that ends has never hit.
    pub fn attack(&mut self, attack: Attack, request: u64) -> Result<()> {
        self.pager.attach()?;
        let hits = self.pager.attack(attack)?;
        if std::mem::replace(&mut self.attack, attack) != Attack::None && hits == 0 {
            bail!("the attack that the guest has asked for has never hit");
        }
        self.acknowledge(request)
    }

    /// Ends periodic evictions.
    pub fn end_evictions(&mut self) -> Result<()> {
        self.pager.end_evictions()
    }

    /// Lets the guest go on, which looks at its mailbox all the time.
    pub fn acknowledge(&mut self, request: u64) -> Result<()> {
        let started = Instant::now();
        while !self.pager.acknowledge(request)? {
            if started.elapsed() > MAILBOX_LIMIT {
                bail!(NO_MAILBOX);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Counts of the host so far.
    pub fn counts(&mut self) -> Result<Counts> {
        Ok(Counts { trace: self.traced()?, pager: self.paged().unwrap_or_default(), swap: self.swapped()? })
    }

    /// Counts of the pager so far; `None` before the first eviction, when there is none to ask.
    pub fn paged(&mut self) -> Option<Stats> {
        Some(self.pager.stats().ok()?.after(&self.earlier))
    }

    /// Counts of the host's trace so far.
    pub fn traced(&self) -> Result<Option<HostCounts>> {
        self.trace.as_ref().map(|trace| trace.counts(self.vmm)).transpose()
    }

    /// Counts of swap so far.
    pub fn swapped(&self) -> Result<Option<SwapCounts>> {
        self.swap.as_ref().map(|swap| swap.counts(self.vmm)).transpose()
    }
}
