//! The resources of every experiment: memory that is evicted and has known content, and
//! tasks that read it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use apf_vocabulary::grid::Point;
use apf_vocabulary::{Counters, Fault, Histogram, Message, Mode};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::region::Region;
use crate::{host, platform};

/// Stacks of the tasks, the least that the kernel gives: they come from the
/// tenth of memory that it does not give to its heap.
const STACK: usize = 32 * 1024;
/// Outstanding faults that a core can have.
const OUTSTANDING: f64 = 64.0;
/// Approximate cost of a fault in the lab; only determines how many pages a sample reads.
const COST_MS: f64 = 0.5;
/// Pages of a calibration.
const CALIBRATION_PAGES: usize = 256;

/// Name of the distribution of the times of reads.
pub const READ: &str = "read";

/// Result of a sample.
#[derive(Debug, Default)]
pub struct Measured {
    pub metrics: BTreeMap<String, f64>,
    pub wrong_pages: u64,
    /// In addition to the service's.
    pub histograms: Vec<Histogram>,
}

/// Memory and state of an experiment.
pub struct Bench {
    region: Arc<Region>,
    seed: u64,
    /// Differs between points; the same for all modes.
    point_seed: u64,
    seeds: SmallRng,
    pub mode: Mode,
    pub sample: Duration,
    /// Requests a second at this point, unless that is one of its parameters.
    pub load: Option<f64>,
    latency_is_given: bool,
    /// True if the sample's memory has been evicted once.
    began: Cell<bool>,
    /// Counts of the service when memory was first evicted, and that time.
    before: RefCell<(Counters, Vec<Histogram>, u64)>,
}

/// Pages in random order, from which tasks take.
pub struct Pages {
    region: Arc<Region>,
    seed: u64,
    order: Vec<usize>,
    next: AtomicUsize,
    wrong: AtomicU64,
    /// Cycles of each read of a page, its comparison included.
    times: apf_service::Histogram,
}

impl Bench {
    /// Fills `pages` pages. Page-ins take the point's latency, or the one that the host was given.
    pub fn new(pages: usize, seed: u64, sample: Duration, latency_is_given: bool) -> Self {
        Self {
            region: Arc::new(Region::filled(pages, seed)),
            seed,
            point_seed: seed,
            seeds: SmallRng::seed_from_u64(seed),
            mode: Mode::Blocked,
            sample,
            load: None,
            latency_is_given,
            began: Cell::new(false),
            before: RefCell::default(),
        }
    }

    /// Goes on to another point.
    pub fn begin_point(&mut self, load: Option<f64>) {
        self.point_seed = self.seeds.random();
        self.load = load;
    }

    /// Goes on to another sample of the point.
    pub fn begin_sample(&self) {
        self.began.set(false);
    }

    /// Random numbers, the same at this point in every mode.
    pub fn random(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.point_seed)
    }

    /// `count` different pages in random order, at most all.
    pub fn pages(&self, count: usize) -> Arc<Pages> {
        let mut order: Vec<usize> = (0..self.region.pages()).collect();
        order.shuffle(&mut self.random());
        order.truncate(count);
        Arc::new(Pages {
            region: self.region.clone(),
            seed: self.seed,
            order,
            next: AtomicUsize::new(0),
            wrong: AtomicU64::new(0),
            times: apf_service::Histogram::default(),
        })
    }

    /// Evicts the memory, but no code and no stacks. Page-ins then take the point's
    /// latency. From the first eviction on, guest and host count for the sample.
    pub fn evict(&self, point: &Point) {
        self.begin(point);
        self.evict_with(self.latency(point));
    }

    /// Does the same with all of the guest's memory.
    pub fn evict_all(&self, point: &Point) {
        self.begin(point);
        host::evict_all(self.latency(point), self.point_seed);
    }

    /// Leaves the point's `local_percent` of `ranges` in memory and no more, until all memory is restored.
    pub fn keep_local(&self, point: &Point, ranges: Vec<Range<u64>>) {
        self.begin(point);
        host::keep_local(ranges, point["local_percent"] / 100.0, self.latency(point), self.point_seed);
    }

    fn begin(&self, point: &Point) {
        if self.began.replace(true) {
            return;
        }
        host::send(&Message::SampleBegins { mode: self.mode, point: point.clone() });
        // Faults from making the tasks.
        apf_service::recorded().for_each(drop);
        *self.before.borrow_mut() = (host::counters(), host::histograms(), cycles());
    }

    fn latency(&self, point: &Point) -> Option<Duration> {
        let latency = point.get("page_latency_ms").map(|ms| Duration::from_secs_f64(ms / 1000.0));
        latency.filter(|_| !self.latency_is_given)
    }

    fn evict_with(&self, latency: Option<Duration>) {
        host::evict_only(&self.region, latency, self.point_seed);
    }

    /// Adds the service's histograms since the eviction to `measured`, and returns the recorded
    /// faults.
    pub fn recorded(&self, measured: &mut Measured) -> Vec<Fault> {
        let (_, before, began) = &*self.before.borrow();
        let since = host::histograms().into_iter().zip(before).map(|(now, then)| now.since(then));
        measured.histograms.extend(since.filter(|h| !h.buckets.is_empty()));
        apf_service::recorded().map(|fault| Fault::since(*began, &fault)).collect()
    }

    /// Returns the service's counts since the eviction.
    pub fn counted(&self) -> Counters {
        host::counters().since(&self.before.borrow().0)
    }

    /// Compares every page, and returns how many there are and how many are wrong.
    pub fn compare_all(&self) -> (u64, u64) {
        let pages = 0..self.region.pages();
        let wrong = pages.clone().filter(|&page| !self.region.is_right(self.seed, page)).count();
        (pages.len() as u64, wrong as u64)
    }

    /// Number of pages that `tasks` read in a sample's time, at least four each.
    pub fn pages_for(&self, tasks: usize, latency_ms: f64) -> usize {
        let at_once = if self.mode.overlaps() { OUTSTANDING.min(tasks as f64) } else { 1.0 };
        let each_ms = if at_once > 1.0 { (latency_ms / at_once).max(COST_MS) } else { latency_ms + COST_MS };
        let fill = (self.sample.as_secs_f64() * 1000.0 / each_ms) as usize;
        // Without overlap every page costs the same, in any task.
        let rounds = if self.mode.overlaps() { (fill / tasks).max(4) * tasks } else { fill.max(16) };
        rounds.min(self.region.pages())
    }

    /// Time for each page without latency, read by one task.
    pub fn fault_cost_ms(&self) -> f64 {
        let pages = self.pages(CALIBRATION_PAGES);
        self.evict_with(Some(Duration::ZERO));
        let began = Instant::now();
        pages.read_all(|| ());
        began.elapsed().as_secs_f64() * 1000.0 / pages.len() as f64
    }

    /// Has `count` tasks call `read` until `time` is over or a task finds no page. `evict`
    /// evicts the memory once the tasks exist. Returns the seconds to the last read, and the
    /// number of reads of each task.
    pub fn read_for(
        &self,
        count: usize,
        time: Duration,
        read: impl Fn() -> bool + Clone + Send + 'static,
        evict: impl FnOnce(),
    ) -> (f64, Vec<u64>) {
        let start = Arc::new(Barrier::new(count + 1));
        let stop = Arc::new(AtomicBool::new(false));
        let reads: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let readers = self.tasks(count, &start, {
            let (stop, reads) = (stop.clone(), reads.clone());
            move |task| {
                while !stop.load(Ordering::Relaxed) && read() {
                    reads[task].fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            }
        });
        evict();
        let began = Instant::now();
        start.wait();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("reader");
        }
        (began.elapsed().as_secs_f64(), reads.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }

    /// Makes tasks that run `body` with their number as soon as the barrier
    /// opens for the caller. They are made before the eviction: making one touches
    /// many pages in a row.
    pub fn tasks(
        &self,
        count: usize,
        start: &Arc<Barrier>,
        body: impl Fn(usize) + Clone + Send + 'static,
    ) -> Vec<JoinHandle<()>> {
        let spawn = |task| {
            let (start, body) = (start.clone(), body.clone());
            let run = move || {
                start.wait();
                body(task);
            };
            let spawned = Builder::new().stack_size(STACK).spawn(run);
            spawned.expect("a task: give the guest more memory, or use fewer tasks")
        };
        (0..count).map(spawn).collect()
    }
}

impl Pages {
    /// Number of pages.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the number of wrong pages, and the time of each read: the same measure in every
    /// mode.
    pub fn measured(&self) -> Measured {
        let read = Histogram::sum(READ, platform::tsc_mhz().into(), [&self.times]);
        Measured {
            wrong_pages: self.wrong.load(Ordering::Relaxed),
            histograms: (!read.buckets.is_empty()).then_some(read).into_iter().collect(),
            ..Measured::default()
        }
    }

    /// All pages, in the order in which they are taken.
    pub fn all(&self) -> impl Iterator<Item = &'static [u8]> {
        self.order.iter().map(|&page| self.region.bytes(page))
    }

    /// Takes the next page; `None` if all are taken.
    pub fn take(&self) -> Option<usize> {
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    /// Reads the next page and compares it; `false` when there is none left.
    pub fn read_next(&self) -> bool {
        self.take().map(|page| self.read(page)).is_some()
    }

    /// Reads a page and compares it.
    pub fn read(&self, page: usize) {
        let began = cycles();
        if !self.region.is_right(self.seed, page) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
        self.times.record(cycles().saturating_sub(began));
    }

    /// Reads pages until none is left, and calls `between` after each.
    pub fn read_all(&self, between: impl Fn()) {
        while self.read_next() {
            between();
        }
    }
}

impl Measured {
    /// Combines both into one sample.
    pub fn and(mut self, other: Self) -> Self {
        self.metrics.extend(other.metrics);
        self.histograms.extend(other.histograms);
        self.wrong_pages += other.wrong_pages;
        self
    }

    /// Adds a metric.
    pub fn metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }
}

fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has a time-stamp counter, and KVM lets
    // guests read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
