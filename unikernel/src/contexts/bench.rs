//! What every check gets: memory that can be recognised, and the service.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use apf_service::Service;
use unikernel::wire::Message;

use crate::host;
use crate::region::Region;

/// What a check found: figures if all is right, else what is not.
pub type Verdict = Result<String, String>;

/// Pages of the memory. More than any check reads, so that no page is read
/// twice between two evictions.
const PAGES: usize = 4096;

/// Memory and service.
pub struct Bench {
    pub seed: u64,
    region: Region,
    next: AtomicUsize,
    service: Mutex<Option<Service>>,
}

impl Bench {
    /// Fills the memory.
    pub fn new(seed: u64, service: Service) -> Self {
        Self {
            seed,
            region: Region::filled(PAGES, seed),
            next: AtomicUsize::new(0),
            service: Mutex::new(Some(service)),
        }
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

    /// Makes each page-in take `latency` from here on, until the next eviction.
    /// The host does not answer, but a fault tells when it has heard.
    pub fn slow_down(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        host::tell(&Message::PageLatency { micros });
        let fault_takes = || {
            let began = Instant::now();
            // A read whose result nobody wants would be left out.
            black_box(self.read(self.page()));
            began.elapsed()
        };
        while fault_takes() < latency {
            thread::yield_now();
        }
    }

    /// Takes [`slow_down`](Self::slow_down) back: what follows is not measured.
    pub fn speed_up(&self) {
        host::tell(&Message::PageLatency { micros: 0 });
    }

    /// Stops the service, if it runs.
    pub fn stop_service(&self) {
        if let Some(service) = self.service.lock().expect("nobody panics").take() {
            service.stop();
        }
    }

    /// Starts it again.
    pub fn start_service(&self) -> Result<(), String> {
        let service =
            apf_service::start(apf_service::Config::default()).map_err(|error| error.to_string())?;
        *self.service.lock().expect("nobody panics") = Some(service);
        Ok(())
    }
}

/// Lets a check say what must hold.
pub fn demand(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}
