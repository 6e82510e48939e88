//! `serve`: a key-value store under an open-loop load, of whose values only a share is local.
//!
//! Parameters: `requests_per_second`, `local_percent`, `scan_percent`, `page_latency_ms`. Keys have Zipf's popularity; one
//! request in ten is a SET. The load generator is a task of the guest, so that no network hides the page faults.
//!
//! The values are evicted and limited to their local share, the index and all else stay. The
//! first quarter of the time is not counted: in it the popular values come in. A request that
//! is not served after twice the planned time counts with its age at that moment: a lower bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apf_load::{Operation, Planned, Popularity, Workload, arrivals};
use apf_vocabulary::Histogram;
use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use super::open_loop;
use super::tail::{LONGER, WORKERS, nanos, percentile, percentiles};
use crate::host;
use crate::values::Values;

/// Keys, each with a value of a page: 16 MiB.
const KEYS: usize = 4096;
/// The skew that YCSB has (Cooper et al., SoCC 2010).
const POPULARITY: Popularity = Popularity::Zipf(0.99);
const WRITES: f64 = 0.1;
/// Values that a SCAN reads.
const SCANNED: usize = 100;
/// Share of the time that is not counted.
const WARM_UP: u32 = 4;

/// What is counted after the warm-up.
#[derive(Debug, Default)]
struct Served {
    /// Latencies of requests that arrive then: of GET and SET, and of SCAN.
    single: apf_service::Histogram,
    scan: apf_service::Histogram,
    given_up: AtomicU64,
    /// Requests that are served then, whenever they have arrived.
    served: AtomicU64,
    /// Also before.
    wrong: AtomicU64,
}

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    static VALUES: OnceLock<Values> = OnceLock::new();
    let values = VALUES.get_or_init(|| Values::new(KEYS));
    let mut random = bench.random();
    let workload =
        Workload { keys: KEYS, popularity: POPULARITY, writes: WRITES, scans: point["scan_percent"] / 100.0 };
    let operations = workload.operations(&mut random);
    let time = bench.sample * LONGER;
    let (warm, limit) = (time / WARM_UP, time * 2);
    let plan =
        arrivals::plan(point["requests_per_second"], time, &mut random, |random| operations.next(random));
    let served = Arc::new(Served::default());
    let evict = || bench.keep_local(point, values.physical());
    let seconds = open_loop::run(bench, &plan, WORKERS, evict, {
        let served = served.clone();
        move |Planned { at, request }, age: &dyn Fn() -> Duration| {
            let in_time = at + age() < limit;
            if in_time && !execute(values, request) {
                served.wrong.fetch_add(1, Ordering::Relaxed);
            }
            let age = age();
            served.served.fetch_add((in_time && at + age >= warm).into(), Ordering::Relaxed);
            if at >= warm {
                served.count(request, age, in_time);
            }
        }
    });
    // All values are compared below, which is no part of the sample.
    host::restore();
    served.measured(seconds - warm.as_secs_f64(), values.wrong())
}

/// Does what is asked for, and returns whether all that it read was right.
fn execute(values: &Values, operation: Operation) -> bool {
    match operation {
        Operation::Get(key) => values.get(key),
        Operation::Set(key) => {
            values.set(key);
            true
        }
        Operation::Scan(key) => values.scan(key, SCANNED),
    }
}

impl Served {
    fn count(&self, operation: Operation, latency: Duration, in_time: bool) {
        let of_kind = if matches!(operation, Operation::Scan(_)) { &self.scan } else { &self.single };
        of_kind.record(nanos(latency));
        self.given_up.fetch_add((!in_time).into(), Ordering::Relaxed);
    }

    /// Returns the result of a time of so many `seconds`, after which so many values were `wrong`.
    fn measured(&self, seconds: f64, wrong: u64) -> Measured {
        let [single, scan] = [("request", &self.single), ("scan", &self.scan)]
            .map(|(name, latencies)| Histogram::sum(name, 1000.0, [latencies]));
        let requests: u64 = single.buckets.iter().chain(&scan.buckets).map(|(_, count)| count).sum();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let mut measured = Measured {
            wrong_pages: self.wrong.load(Ordering::Relaxed) + wrong,
            ..percentiles(&single.buckets)
                .into_iter()
                .fold(Measured::default(), |m, (name, ms)| m.metric(name, ms))
        };
        if !scan.buckets.is_empty() {
            measured = measured.metric("scan_p99_ms", percentile(&scan.buckets, 0.99) as f64 / 1e6);
        }
        measured
            .histograms
            .extend([single, scan].into_iter().filter(|latencies| !latencies.buckets.is_empty()));
        measured
            .metric("served_per_second", of(&self.served) / seconds)
            .metric("given_up", of(&self.given_up) / (requests as f64).max(1.0))
    }
}
