//! Evictions: the choice of pages, and their move to the store.

use super::{PAGES_AT_A_TIME, Pager, micros};
use crate::choice;
use crate::error::Error;
use crate::latency::Sampler;
use crate::pagemap::Pagemap;
use crate::pages::PageState;
use crate::periodic::Periodic;
use crate::resident::Resident;
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Evicted, Eviction, Parts};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

impl Pager {
    /// Evicts all pages, or `only` these parts, or the share of either that `eviction` sets. With
    /// `ack`, acknowledges that request in the guest's mailboxes at the end.
    pub fn evict(
        &mut self,
        only: Option<&Parts>,
        (eviction, seed): (&Eviction, u64),
        ack: Option<u64>,
        latency: &mut Sampler,
    ) -> Result<Evicted, Error> {
        let started = Instant::now();
        self.end_evictions();
        self.noting = matches!(eviction, Eviction::Lru { .. });
        let mailboxes = self.mailboxes(ack, Pagemap::PRESENT_OR_SWAPPED)?;
        let parts = match only {
            Some(parts) => self.locate(parts, &mailboxes)?,
            None => std::iter::once(0..self.ram.pages()).collect(),
        };
        if !self.registered {
            for piece in self.ram.pieces() {
                self.uffd.register(piece.start, piece.bytes).map_err(Error::Register)?;
            }
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
            Eviction::Resident { share } => {
                let (pages, mut rng) = (choice::pages_of(&parts), SmallRng::seed_from_u64(seed));
                let chosen = choice::at_random(&pages, 1.0 - share, &mut rng);
                self.evict_chosen(&pages, &chosen, latency)?;
                let mut stay = choice::others(&pages, &chosen);
                stay.shuffle(&mut rng);
                self.resident = Some(Resident::new(pages, stay.len(), stay));
            }
        }
        self.acknowledge(&mailboxes, ack);
        self.stats.evictions += 1;
        self.working_set.evicted();
        Ok(Evicted {
            evicted_pages: self.evicted_pages() as u64,
            dropped_pages: self.stats.dropped_pages - before.dropped_pages,
            elapsed_us: micros(started.elapsed()),
            mailboxes: mailboxes.len() as u64,
            write_protect_waits: self.stats.write_protect_waits - before.write_protect_waits,
        })
    }

    /// Evicts the pages that are more than may be in memory, and does the periodic eviction if it is due.
    /// After a failure there is no further one.
    pub fn evict_again(&mut self, latency: &mut Sampler) -> Result<(), Error> {
        if let Some(mut resident) = self.resident.take() {
            self.evict_pages(&resident.leaving(), latency)?;
            self.resident = Some(resident);
        }
        let Some(mut periodic) = self.periodic.take_if(|periodic| periodic.next() <= Instant::now()) else {
            return Ok(());
        };
        let chosen = periodic.draw();
        self.evict_pages(&chosen, latency)?;
        self.stats.evictions += 1;
        self.working_set.evicted();
        periodic.done(Instant::now());
        self.periodic = Some(periodic);
        Ok(())
    }

    /// Ends evictions that go on.
    pub fn end_evictions(&mut self) {
        (self.periodic, self.resident) = (None, None);
    }

    fn evict_parts(&mut self, parts: &[Range<usize>], latency: &mut Sampler) -> Result<(), Error> {
        parts.iter().try_for_each(|part| self.evict_runs(std::slice::from_ref(part), latency))
    }

    /// Evicts those of `pages` that are `chosen`, and brings the others back.
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

    /// Evicts ascending pages.
    fn evict_pages(&mut self, chosen: &[usize], latency: &mut Sampler) -> Result<(), Error> {
        self.evict_runs(&choice::runs(chosen), latency)
    }

    /// Returns the pages of `parts`, if one of `mailboxes` is at the address that the guest has sent.
    fn locate(&self, parts: &Parts, mailboxes: &[usize]) -> Result<Vec<Range<usize>>, Error> {
        let page = self.ram.page_at(parts.mailbox).ok_or(Error::NoMailbox)?;
        if !mailboxes.contains(&page) {
            return Err(Error::NoMailbox);
        }
        parts.ranges.iter().map(|range| self.ram.pages_of(range)).collect()
    }

    /// Evicts these ascending runs, one window of pages after the other.
    fn evict_runs(&mut self, runs: &[Range<usize>], latency: &mut Sampler) -> Result<(), Error> {
        let windows = choice::windows(runs, PAGES_AT_A_TIME, |page| self.ram.end_of_piece(page));
        windows.iter().try_for_each(|runs| self.evict_window(runs, latency))
    }

    /// Evicts these runs, which are close to each other. Pages between them do not change, but
    /// writes to them wait for a moment.
    fn evict_window(&mut self, runs: &[Range<usize>], latency: &mut Sampler) -> Result<(), Error> {
        let Self { pagemap, ram, pages, .. } = self;
        // Pages appear only through this thread, so the result stays true.
        let (mut present, mut untouched) = (Vec::new(), Vec::new());
        for run in runs {
            pagemap.scan(ram, run.clone(), Pagemap::PRESENT_OR_SWAPPED, |page, is_present| {
                if is_present {
                    present.push(page);
                } else if pages.state(page) == PageState::Resident {
                    // Never touched, or dropped by the VMM.
                    untouched.push(page);
                }
                // Else it is in the store only.
            })?;
        }
        let cleared = choice::runs(&untouched).into_iter().try_for_each(|run| self.store.clear(run));
        cleared.map_err(|error| self.store_failed(error))?;
        untouched.into_iter().for_each(|page| self.pages.evict(page..page + 1));
        self.drop_present(&choice::runs(&present), latency)
    }

    /// Moves these runs, which are present and close to each other, to the store.
    fn drop_present(&mut self, runs: &[Range<usize>], latency: &mut Sampler) -> Result<(), Error> {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
        let window = first.start..last.end;
        let (address, bytes) = (self.ram.address(window.start), window.len() * PAGE_BYTES);
        self.uffd.write_protect(address, bytes).map_err(Error::WriteProtect)?;
        let copied = runs.iter().try_for_each(|run| {
            // SAFETY: the run is present and write-protected, so it is neither dropped nor changed.
            self.store.put(run.start, unsafe { self.ram.contents(run) })
        });
        // Read before the drop, to be counted; queued after it.
        let mut waiting = Vec::new();
        self.uffd.read_faults(&mut waiting);
        let arrival = Instant::now();
        let dropped = copied.map_err(|error| self.store_failed(error)).and_then(|()| {
            // Marked even if a drop fails half-way: a marked page that is present is found so when
            // it is to be brought back, and is not changed.
            runs.iter().for_each(|run| self.pages.evict(run.clone()));
            // SAFETY: the store has every page, copied while it was write-protected. Faults are
            // served from the store.
            runs.iter().try_for_each(|run| unsafe { self.ram.drop(run) }).map_err(Error::Drop)
        });
        if dropped.is_err() {
            // Wakes the writers that waited: they continue, or send a new message.
            let _ = self.uffd.write_unprotect(address, bytes);
        } else if runs != [window] {
            // Writers that wait at a page that stays are released through their messages.
            self.uffd.write_unprotect_quietly(address, bytes).map_err(Error::WriteProtect)?;
        }
        self.stats.write_protect_waits += waiting.iter().filter(|fault| fault.write_protect).count() as u64;
        for fault in waiting {
            self.enqueue(fault, arrival, latency);
        }
        dropped?;
        self.stats.dropped_pages += runs.iter().map(Range::len).sum::<usize>() as u64;
        Ok(())
    }

    fn store_failed(&self, error: io::Error) -> Error {
        Error::Store { held_mib: self.store.bytes() >> 20, error }
    }
}
