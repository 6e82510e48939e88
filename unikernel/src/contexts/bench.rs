//! What every check gets: memory that can be recognised.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apf_service::{Config, Service, StartError, Waits};

use super::tasks::Sign;
use crate::host;
use crate::region::Region;

/// What a check found: figures if all is right, else what is not.
pub type Verdict = Result<String, String>;

/// Pages of the memory. More than any check reads, so that no page is read
/// twice between two evictions.
pub const PAGES: usize = 4096;

/// The memory.
pub struct Bench {
    pub seed: u64,
    region: Region,
    next: AtomicUsize,
    service: Mutex<Option<Service>>,
    /// Readies that a check has raised itself.
    pub played: Sign,
}

impl Bench {
    /// Fills the memory and starts the service.
    pub fn new(seed: u64) -> Result<Self, StartError> {
        let region = Region::filled(PAGES, seed);
        let (next, service, played) = (AtomicUsize::new(0), Mutex::default(), Sign::default());
        let bench = Self { seed, region, next, service, played };
        bench.start(Config::default())?;
        Ok(bench)
    }

    /// Lets `act` turn to the service, which runs.
    pub fn service<T>(&self, act: impl FnOnce(&Service) -> T) -> T {
        act(self.service.lock().expect("no check panics").as_ref().expect("it runs"))
    }

    /// Starts the service. The context alone decides how a fault waits, so that
    /// checks know it beforehand.
    pub fn start(&self, config: Config) -> Result<(), StartError> {
        let service = apf_service::start(Config { waits: Waits::ByContext, ..config })?;
        *self.service.lock().expect("no check panics") = Some(service);
        Ok(())
    }

    /// Ends the service.
    pub fn stop(&self) {
        if let Some(service) = self.service.lock().expect("no check panics").take() {
            service.stop();
        }
    }

    /// Has only this memory paged out: code and stacks stay. A page-in takes
    /// `latency` from now on, or as long as the run was told.
    pub fn evict(&self, latency: Option<Duration>) {
        host::evict_only(&self.region, latency, 0);
    }

    /// A page that nobody has read since the last eviction.
    pub fn page(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % PAGES
    }

    /// Reads all of `page` and says whether it is what was written.
    pub fn read(&self, page: usize) -> bool {
        self.region.is_right(self.seed, page)
    }

    /// A fresh page's first word: where it is, and what it should hold.
    pub fn word(&self) -> (*const u64, u64) {
        self.region.first_word(self.seed, self.page())
    }

    /// Does `work` twice, and returns what came of the second time, when code
    /// and stacks are there.
    pub fn warm<T>(&self, mut work: impl FnMut() -> T) -> T {
        work();
        work()
    }
}

/// Lets a check say what must hold.
pub fn demand(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}
