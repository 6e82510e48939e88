//! The pager: evicts pages, serves faults, restores pages.
//!
//! Two rules hold for every order of events: no write of the guest is lost, and no fault waits for
//! ever. All of this runs on one thread, so the only concurrency is with the kernel and with the
//! threads (and vCPUs) that fault:
//!
//! - **A fault is a message, and a message is an entry.** Each waiter in userfaultfd has a message
//!   that has not been read yet, or has an entry in the due queue, or found one there. An entry
//!   ends in `UFFDIO_COPY`, which wakes every waiter of the page, of either kind.
//! - **A message is handled by the state of its page when it is read**, not by its flags. A write to
//!   a protected page may send its message, or have it read, after the page was dropped: it waits
//!   for an absent page, and is served like any other. A message for a page that is back is out of
//!   date: removing a protection that does not exist wakes the waiters, and changes nothing else.
//! - **Nothing overwrites memory.** `UFFDIO_COPY` only fills holes. A present page is newer than the
//!   store.
//! - **Only dropped pages fault.** The range is registered at the first eviction, not at the start:
//!   a page that the guest has not touched costs nothing while the guest boots. From then on pages
//!   appear only through this thread, so an absent page in `pagemap` stays absent.
//! - **Outside an eviction no page is write-protected**, so this thread may write to present pages.
//!   It never touches an absent page: it would wait for itself.
//!
//! ```text
//!  the guest                        the pager's thread, 2 MiB after 2 MiB
//!  writes continue                  register for missing and write-protect faults (once, all RAM)
//!  writes to present pages wait     write-protect; TLBs and nested page tables are flushed
//!  reads continue                   copy every present page to the store: it can only be read
//!  every touch waits                drop them
//!                                   every fault that waited: due at its arrival + latency
//! ```
//!
//! Nothing is served before the last 2 MiB are dropped, so that then all pages are evicted. At most
//! 2 MiB are in memory twice.
//!
//! Device DMA into pinned guest pages (vhost, VFIO, direct I/O) ignores write protection: its
//! writes during an eviction's copy are lost.

mod evict; // eviction of pages

use crate::due::DueQueue;
use crate::error::Error;
use crate::handles::Handles;
use crate::hook;
use crate::latency::Sampler;
use crate::mappings::Smaps;
use crate::pagemap::Pagemap;
use crate::pages::{PageState, Pages};
use crate::periodic::Periodic;
use crate::ram::GuestRam;
use crate::recency::Recency;
use crate::resident::Resident;
use crate::store::{self, Store};
use crate::uffd::{Copied, Fault, Uffd};
use crate::working_set::WorkingSet;
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Restored, Stats};
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Pages that an eviction or a restore moves at a time: few enough that faults of other parts of
/// the VMM do not wait long for the address space's lock.
const PAGES_AT_A_TIME: usize = store::READ_PAGES;
/// Time until a second try: after the kernel has asked for one, and after an error, such as a lack
/// of memory.
const SOON: Duration = Duration::from_micros(20);
const LATER: Duration = Duration::from_millis(10);

/// The pager of one guest's RAM.
#[derive(Debug)]
pub struct Pager {
    uffd: Uffd,
    pagemap: Pagemap,
    smaps: Smaps,
    ram: GuestRam,
    registered: bool,
    store: Store,
    pages: Pages,
    queue: DueQueue,
    recency: Recency,
    /// Page-ins are recorded in `recency`.
    noting: bool,
    periodic: Option<Periodic>,
    resident: Option<Resident>,
    working_set: WorkingSet,
    stats: Stats,
    /// Buffer of [`Self::take_faults`], kept for its capacity.
    faults: Vec<Fault>,
}

impl Pager {
    /// Makes a pager without RAM.
    pub fn new(Handles { uffd, pagemap, smaps, store }: Handles) -> Self {
        Self {
            uffd,
            pagemap,
            smaps,
            ram: GuestRam::empty(),
            registered: false,
            store: Store::new(store),
            pages: Pages::new(0),
            queue: DueQueue::default(),
            recency: Recency::new(0),
            noting: false,
            periodic: None,
            resident: None,
            working_set: WorkingSet::default(),
            stats: Stats::default(),
            faults: Vec::with_capacity(1024),
        }
    }

    /// Sets the RAM to be paged. It may grow until the first eviction.
    ///
    /// # Errors
    /// A part of it cannot be paged, or it has grown after the first eviction.
    pub fn take_ram(&mut self, ram: &GuestRam) -> Result<(), Error> {
        if self.ram == *ram {
            return Ok(());
        }
        if self.registered {
            return Err(Error::MoreRam { paged: self.ram.bytes(), now: ram.bytes() });
        }
        self.smaps.check(ram)?;
        self.store.resize(ram.pages());
        self.pages = Pages::new(ram.pages());
        self.recency = Recency::new(ram.pages());
        self.ram = ram.clone();
        Ok(())
    }

    pub fn uffd(&self) -> &Uffd {
        &self.uffd
    }

    pub fn evicted_pages(&self) -> usize {
        self.pages.len() - self.pages.resident()
    }

    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    pub fn stats(&self) -> Stats {
        Stats { in_flight: self.queue.len() as u64, ..self.stats.clone() }
    }

    /// Returns the time at which [`Self::serve_due`] or [`Self::evict_again`] is due.
    pub fn next_due(&self) -> Option<Instant> {
        let again = self.periodic.as_ref().map(Periodic::next);
        self.queue.next_due().into_iter().chain(again).chain(self.working_set.next_due()).min()
    }

    /// Reads the faults that have arrived, and sets the due time of each.
    pub fn take_faults(&mut self, latency: &mut Sampler) {
        let mut faults = std::mem::take(&mut self.faults);
        self.uffd.read_faults(&mut faults);
        let arrival = Instant::now();
        for fault in faults.drain(..) {
            self.stats.late_write_protects += u64::from(fault.write_protect);
            self.enqueue(fault, arrival, latency);
        }
        self.faults = faults;
    }

    fn enqueue(&mut self, fault: Fault, arrival: Instant, latency: &mut Sampler) {
        self.stats.fault_messages += 1;
        let Some(page) = self.ram.page_of(fault.address) else { return };
        match self.pages.fault(page) {
            PageState::Evicted => {
                self.stats.vcpu_page_ins += u64::from(hook::is_vcpu(fault.thread));
                self.queue.push(arrival + latency.sample(), page);
                self.working_set.fault(arrival, || latency.sample());
                self.stats.in_flight_max = self.stats.in_flight_max.max(self.queue.len() as u64);
            }
            // The existing entry wakes this waiter, too.
            PageState::InService => {}
            PageState::Resident => self.release(page),
        }
    }

    /// Releases a waiter of a page that the pager does not hold: it is back already, or was dropped
    /// by the VMM itself (a balloon), which leaves zeros.
    fn release(&mut self, page: usize) {
        self.stats.stale_messages += 1;
        match self.uffd.copy(self.ram.address(page), &[0; PAGE_BYTES]) {
            Copied::Bytes(_) => {}
            Copied::Present => {
                // Wakes the waiter, too. It can fail only if the mapping is gone, and then there is none.
                let _ = self.uffd.write_unprotect(self.ram.address(page), PAGE_BYTES);
            }
            // The waiter tries again, and sends a new message.
            Copied::Again | Copied::Failed(_) => {
                let _ = self.uffd.wake(self.ram.address(page), PAGE_BYTES);
            }
        }
    }

    /// Brings back every page that is due, and then some that come ahead of their faults.
    pub fn serve_due(&mut self) {
        let mut now = Instant::now();
        while let Some((due, page)) = self.queue.pop_due(now) {
            match self.bring_back(page, 1) {
                Ok(_) => {
                    self.stats.served_pages += 1;
                    self.working_set.served(page);
                    if self.noting {
                        self.recency.paged_in(page);
                    }
                    if let Some(resident) = &mut self.resident {
                        resident.paged_in(page);
                    }
                    let lateness = micros(due.elapsed());
                    self.stats.lateness_total_us += lateness;
                    self.stats.lateness_max_us = self.stats.lateness_max_us.max(lateness);
                }
                // Not printed: standard error may be a pipe to which a thread of the VMM is writing
                // guest memory, and that thread may be waiting for this one.
                Err(error) => {
                    self.stats.retried_page_ins += 1;
                    let again = error.kind() == io::ErrorKind::WouldBlock;
                    self.queue.push(Instant::now() + if again { SOON } else { LATER }, page);
                }
            }
            now = Instant::now();
        }
        // One run at a time: faults that have become due meanwhile come first.
        if let Some(run) = self.working_set.pop_due(now) {
            let before = self.pages.resident();
            // A page that cannot come ahead comes by its fault.
            let _ = self.restore_pages(run);
            self.forget_served();
            self.stats.ahead_pages += (self.pages.resident() - before) as u64;
        }
    }

    /// Returns the guest-physical addresses of the pages that faults have brought in since the last
    /// eviction, in the order of their return.
    pub fn touched(&self) -> Vec<u64> {
        self.working_set.touched().iter().map(|&page| self.ram.guest_address(page)).collect()
    }

    /// Brings the pages at these guest-physical addresses in ahead of their faults, from the next eviction on.
    /// Returns how many of them are RAM.
    pub fn bring_ahead(&mut self, addresses: &[u64]) -> u64 {
        let pages: Vec<usize> = addresses.iter().filter_map(|&address| self.ram.page_at(address)).collect();
        let count = pages.len() as u64;
        self.working_set.bring_ahead(pages);
        count
    }

    /// Puts up to `count` pages in place and wakes their waiters. Returns the number, at least 1.
    fn bring_back(&mut self, page: usize, count: usize) -> io::Result<usize> {
        let address = self.ram.address(page);
        let count = count.min(self.ram.end_of_piece(page) - page);
        let done = match self.uffd.copy(address, self.store.read(page, count)?) {
            Copied::Bytes(bytes) => bytes / PAGE_BYTES,
            Copied::Present => {
                self.uffd.wake(address, PAGE_BYTES)?;
                1
            }
            Copied::Again => return Err(io::ErrorKind::WouldBlock.into()),
            Copied::Failed(error) => return Err(error),
        };
        let back = page..page + done;
        back.clone().for_each(|page| self.pages.bring_back(page));
        // If this fails, the store keeps old contents of these pages until the next eviction.
        let _ = self.store.clear(back);
        Ok(done)
    }

    /// Brings everything back now. With `ack`, acknowledges that request in the guest's mailboxes
    /// after the last page: a guest that sees it does not fault any more.
    pub fn restore(&mut self, ack: Option<u64>) -> Result<Restored, Error> {
        let started = Instant::now();
        self.end_evictions();
        self.working_set.end();
        let before = self.pages.resident();
        let restored = self.restore_pages(0..self.pages.len());
        // Also after a failure: the waiters of the pages that are back are awake.
        self.forget_served();
        restored?;
        let mailboxes = self.mailboxes(ack, Pagemap::PRESENT_OR_SWAPPED)?;
        self.acknowledge(&mailboxes, ack);
        self.stats.restores += 1;
        Ok(Restored {
            restored_pages: (self.pages.resident() - before) as u64,
            resident_pages: self.pages.resident() as u64,
            elapsed_us: micros(started.elapsed()),
            mailboxes: mailboxes.len() as u64,
        })
    }

    /// Removes queue entries of pages that are back.
    fn forget_served(&mut self) {
        let pages = &self.pages;
        self.queue.retain(|page| pages.state(page) == PageState::InService);
    }

    fn restore_pages(&mut self, within: Range<usize>) -> Result<(), Error> {
        let mut page = within.start;
        while let Some((start, count)) = self.pages.next_missing(page..within.end, PAGES_AT_A_TIME) {
            page = start;
            match self.bring_back(start, count) {
                Ok(done) => page += done,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(SOON),
                Err(error) => return Err(Error::PageIn { page, error }),
            }
        }
        Ok(())
    }

    /// Acknowledges a request in the guest's mailboxes that are in memory or in the store. Returns
    /// their number.
    pub fn acknowledge_only(&mut self, ack: u64) -> Result<u64, Error> {
        let mailboxes = self.mailboxes(Some(ack), Pagemap::PRESENT)?;
        self.acknowledge(&mailboxes, Some(ack));
        Ok(mailboxes.len() as u64)
    }

    /// Finds the pages that are mailboxes with this request, in memory (of `those`) or in the store.
    fn mailboxes(&self, request: Option<u64>, those: u64) -> Result<Vec<usize>, Error> {
        let Some(request) = request else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        self.pagemap.scan(&self.ram, 0..self.ram.pages(), those, |page, present| {
            let asks = if present {
                // SAFETY: the page is present, and only this thread drops pages.
                unsafe { self.ram.asks_for(page, request) }
            } else {
                self.store.asks_for(page, request)
            };
            if asks {
                found.push(page);
            }
        })?;
        Ok(found)
    }

    /// Acknowledges `request` in `mailboxes`, in memory or in the store. The guest gets a mailbox
    /// from the store by a touch that faults.
    fn acknowledge(&mut self, mailboxes: &[usize], request: Option<u64>) {
        for (&page, request) in mailboxes.iter().zip(request.into_iter().cycle()) {
            if self.pages.state(page) == PageState::Resident {
                // SAFETY: the page was present when it was found, and has not been dropped since.
                // Outside an eviction no page is write-protected.
                unsafe { self.ram.acknowledge(page, request) }
            } else {
                // The file has its page, so this needs no memory.
                self.store.acknowledge(page, request).expect("the store has the mailbox");
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
