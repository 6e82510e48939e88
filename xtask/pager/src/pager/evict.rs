//! What goes out, and how.

use super::{Pager, micros};
use crate::choice;
use crate::error::Error;
use crate::latency::Sampler;
use crate::memory::Pagemap;
use crate::pages::PageState;
use crate::periodic::Periodic;
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Evicted, Eviction, Parts};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::ops::Range;
use std::time::{Duration, Instant};

impl Pager {
    /// Pages everything out, or `only` these parts, or of either what `eviction` says. With `ack`,
    /// acknowledges that request in the guest's mailboxes when all is done.
    pub fn evict(
        &mut self,
        only: Option<&Parts>,
        (eviction, seed): (&Eviction, u64),
        ack: Option<u64>,
        latency: &mut Sampler,
    ) -> Result<Evicted, Error> {
        let started = Instant::now();
        self.periodic = None;
        self.noting = matches!(eviction, Eviction::Lru { .. });
        let mailboxes = self.mailboxes(ack, Pagemap::PRESENT_OR_SWAPPED)?;
        let parts = match only {
            Some(parts) => self.locate(parts, *mailboxes.first().ok_or(Error::NoMailbox)?)?,
            None => std::iter::once(0..self.ram.pages()).collect(),
        };
        if !self.registered {
            self.uffd.register(self.ram.start, self.ram.bytes).map_err(Error::Register)?;
            self.registered = true;
        }
        let before = self.stats();
        match *eviction {
            Eviction::All => self.evict_parts(&parts, latency)?,
            Eviction::Fraction { share } => {
                let pages = choice::pages_of(&parts);
                let chosen = choice::at_random(&pages, share, &mut SmallRng::seed_from_u64(seed));
                self.evict_chosen(&pages, &chosen, latency)?;
            }
            Eviction::Lru { share } => {
                let pages = choice::pages_of(&parts);
                let chosen = self.recency.least_recent(pages.clone(), share, seed);
                self.evict_chosen(&pages, &chosen, latency)?;
            }
            Eviction::Periodic { period_micros, share } => {
                let (pages, period) = (choice::pages_of(&parts), Duration::from_micros(period_micros));
                let mut periodic = Periodic::new(pages, share, period, seed, started);
                let chosen = periodic.draw();
                self.evict_chosen(periodic.pages(), &chosen, latency)?;
                periodic.done(Instant::now());
                self.periodic = Some(periodic);
            }
        }
        self.acknowledge(&mailboxes, ack);
        self.stats.evictions += 1;
        Ok(Evicted {
            evicted_pages: (self.pages.len() - self.pages.resident()) as u64,
            dropped_pages: self.stats.dropped_pages - before.dropped_pages,
            elapsed_us: micros(started.elapsed()),
            mailboxes: mailboxes.len() as u64,
            write_protect_waits: self.stats.write_protect_waits - before.write_protect_waits,
        })
    }

    /// The periodic eviction, if its time has come. One that fails is the last one.
    pub fn evict_again(&mut self, latency: &mut Sampler) -> Result<(), Error> {
        let Some(mut periodic) = self.periodic.take_if(|periodic| periodic.next() <= Instant::now()) else {
            return Ok(());
        };
        let chosen = periodic.draw();
        self.evict_pages(&chosen, latency)?;
        self.stats.evictions += 1;
        periodic.done(Instant::now());
        self.periodic = Some(periodic);
        Ok(())
    }

    /// No more of them.
    pub fn end_evictions(&mut self) {
        self.periodic = None;
    }

    fn evict_parts(&mut self, parts: &[Range<usize>], latency: &mut Sampler) -> Result<(), Error> {
        parts.iter().try_for_each(|part| self.evict_runs(part, std::slice::from_ref(part), latency))
    }

    /// Pages out those of `pages` that are `chosen`, and brings the others back.
    fn evict_chosen(
        &mut self,
        pages: &[usize],
        chosen: &[usize],
        latency: &mut Sampler,
    ) -> Result<(), Error> {
        for run in choice::runs(&choice::others(pages, chosen)) {
            self.restore_pages(run)?;
        }
        self.forget_served();
        self.evict_pages(chosen, latency)
    }

    /// Pages these out, whatever lies between them as well protected for the time.
    fn evict_pages(&mut self, chosen: &[usize], latency: &mut Sampler) -> Result<(), Error> {
        let (Some(&first), Some(&last)) = (chosen.first(), chosen.last()) else { return Ok(()) };
        self.evict_runs(&(first..last + 1), &choice::runs(chosen), latency)
    }

    /// The pages of `parts`, if the guest has the mailbox of `page` where it says.
    fn locate(&self, parts: &Parts, page: usize) -> Result<Vec<Range<usize>>, Error> {
        let base = parts.mailbox.checked_sub((page * PAGE_BYTES) as u64).ok_or(Error::NoMailbox)?;
        parts.ranges.iter().map(|range| self.ram.pages_of(range, base)).collect()
    }

    /// Pages out these runs of `part`. What is left of it stays as it is, but for a moment in which
    /// writes to it wait.
    fn evict_runs(
        &mut self,
        part: &Range<usize>,
        runs: &[Range<usize>],
        latency: &mut Sampler,
    ) -> Result<(), Error> {
        let (address, bytes) = (self.ram.address(part.start), part.len() * PAGE_BYTES);
        let copied = self.copy_out(part, runs);
        // Read, so as to count them, before the drop. They are entered after it.
        let mut held_up = Vec::new();
        self.uffd.read_faults(&mut held_up);
        let arrival = Instant::now();
        let dropped = copied.and_then(|count| {
            // SAFETY: the store has every page: those that were present were copied after they
            // could no longer be written, the others were there before, or are zeros. Faults are
            // served from it.
            runs.iter().try_for_each(|run| unsafe { self.ram.drop(run) }).map(|()| count).map_err(Error::Drop)
        });
        if !matches!(dropped, Err(Error::WriteProtect(_) | Error::Pagemap(_))) {
            // Also when the drop failed, perhaps half-way: a page that is present but marked is
            // found present when it is to be brought back, and stays as it is.
            runs.iter().for_each(|run| self.pages.evict(run.clone()));
        }
        if dropped.is_err() {
            // Wakes those held up, and they go on, or come back with a new message.
            let _ = self.uffd.write_unprotect(address, bytes);
        } else if runs != std::slice::from_ref(part) {
            // Those held up at a page that stays are released by their messages.
            self.uffd.write_unprotect_quietly(address, bytes).map_err(Error::WriteProtect)?;
        }
        self.stats.write_protect_waits += held_up.iter().filter(|fault| fault.write_protect).count() as u64;
        for fault in held_up {
            self.enqueue(fault, arrival, latency);
        }
        self.stats.dropped_pages += dropped?;
        Ok(())
    }

    /// Write-protects `part` and completes the store for its `runs`. Tells how many pages were copied.
    fn copy_out(&mut self, part: &Range<usize>, runs: &[Range<usize>]) -> Result<u64, Error> {
        let (address, bytes) = (self.ram.address(part.start), part.len() * PAGE_BYTES);
        self.uffd.write_protect(address, bytes).map_err(Error::WriteProtect)?;
        let Self { pagemap, ram, store, pages, .. } = self;
        let mut copied = 0;
        for run in runs {
            pagemap.scan(ram, run.clone(), Pagemap::PRESENT_OR_SWAPPED, |page, present| {
                if present {
                    // SAFETY: present, and write-protected: it neither goes nor changes.
                    store.put(page, |contents| unsafe { ram.read(page, contents) });
                    copied += 1;
                } else if pages.state(page) == PageState::Resident {
                    // Never touched, or dropped by the VMM.
                    store.clear(page);
                }
                // Else it is in the store, and nowhere else.
            })?;
        }
        Ok(copied)
    }
}
