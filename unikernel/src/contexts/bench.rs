//! The resources of every check: memory with known contents, and the service.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apf_service::{Config, Service, StartError, Waits};

use super::tasks::Sign;
use crate::host;
use crate::region::Region;

/// Result of a check: figures, or the reason of the failure.
pub type Verdict = Result<String, String>;

/// Pages of the memory: more than any check reads, so that no page is read twice between two
/// evictions.
pub const PAGES: usize = 4096;

/// Memory and service of the checks.
pub struct Bench {
    pub seed: u64,
    region: Region,
    next: AtomicUsize,
    service: Mutex<Option<Service>>,
    /// Ready events that a check has raised itself.
    pub played: Sign,
}

impl Bench {
    /// Fills the memory.
    pub fn new(seed: u64) -> Self {
        let region = Region::filled(PAGES, seed);
        let (next, service, played) = (AtomicUsize::new(0), Mutex::default(), Sign::default());
        Self { seed, region, next, service, played }
    }

    /// Calls `act` with the running service.
    pub fn service<T>(&self, act: impl FnOnce(&Service) -> T) -> T {
        act(self.service.lock().expect("no check panics").as_ref().expect("it runs"))
    }

    /// Starts the service.
    pub fn start(&self, config: Config) -> Result<(), StartError> {
        let service = apf_service::start(config)?;
        *self.service.lock().expect("no check panics") = Some(service);
        Ok(())
    }

    /// Stops the service, and starts it with other settings.
    pub fn restart(&self, config: Config) -> Result<(), String> {
        self.stop();
        self.start(config).map_err(|error| error.to_string())
    }

    /// Stops the service.
    pub fn stop(&self) {
        if let Some(service) = self.service.lock().expect("no check panics").take() {
            service.stop();
        }
    }

    /// Evicts only this memory; code and stacks stay. From now on a page-in takes `latency`, or
    /// the time that the run has set.
    pub fn evict(&self, latency: Option<Duration>) {
        host::evict_only(&self.region, latency, 0);
    }

    /// Returns a page that has not been read since the last eviction.
    pub fn page(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % PAGES
    }

    /// Reads all of `page` and returns whether its data is right.
    pub fn read(&self, page: usize) -> bool {
        self.region.is_right(self.seed, page)
    }

    /// Returns the address of a fresh page's first word, and its expected value.
    pub fn word(&self) -> (*const u64, u64) {
        self.region.first_word(self.seed, self.page())
    }

    /// Does `work` twice, and returns the result of the second time, with code and stacks
    /// resident.
    pub fn warm<T>(&self, mut work: impl FnMut() -> T) -> T {
        work();
        work()
    }
}

/// Settings of the service. The context alone decides how a fault waits, so that checks can
/// predict it.
pub fn config() -> Config {
    Config { waits: Waits::ByContext, ..Config::default() }
}

/// Fails a check unless a condition holds.
pub fn demand(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}
