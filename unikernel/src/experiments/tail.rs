//! `tail`: request latencies under an open-loop load over partly evicted data.
//!
//! Parameters: `requests_per_second`, `page_latency_ms`. Latency counts from the planned start. One request in
//! four touches an evicted page.

use std::sync::Arc;
use std::time::Duration;

use apf_load::{Planned, arrivals};
use apf_service::OUTSTANDING_PER_VCPU;
use apf_vocabulary::Histogram;
use apf_vocabulary::grid::Point;
use rand::Rng;
use rand::rngs::SmallRng;

use super::bench::{Bench, Measured, Pages};
use super::open_loop;

/// As many as the host keeps faults outstanding.
pub const WORKERS: usize = OUTSTANDING_PER_VCPU;
/// One request in `COLD` touches an evicted page.
const COLD: u32 = 4;
/// Factor on the time of a sample: tails need more requests than a mean does.
pub const LONGER: u32 = 4;

/// The evicted page that a request touches; `None` for resident memory.
type Touch = Option<usize>;

/// Result of serving requests.
pub struct Served {
    count: usize,
    /// Time until the last request was served.
    pub seconds: f64,
    /// From their planned start on.
    latencies: Histogram,
}

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(usize::MAX);
    let plan = plan(bench, point["requests_per_second"], &pages);
    serve(bench, point, &pages, &plan, WORKERS).measured(&pages)
}

/// Has `workers` tasks serve the requests of `plan`, each from its planned start on.
pub fn serve(
    bench: &Bench,
    point: &Point,
    pages: &Arc<Pages>,
    plan: &[Planned<Touch>],
    workers: usize,
) -> Served {
    let latencies = Arc::new(apf_service::Histogram::default());
    let hot: Arc<Vec<u8>> = Arc::new(vec![7; apf_vocabulary::PAGE_BYTES]);
    let seconds = open_loop::run(bench, plan, workers, || bench.evict(point), {
        let (pages, latencies) = (pages.clone(), latencies.clone());
        move |planned, age: &dyn Fn() -> Duration| {
            match planned.request {
                Some(page) => pages.read(page),
                None => {
                    std::hint::black_box(hot.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                }
            }
            latencies.record(nanos(age()));
        }
    });
    Served { count: plan.len(), seconds, latencies: Histogram::sum("request", 1000.0, [&*latencies]) }
}

/// Returns a latency as histograms of requests have it.
pub fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

impl Served {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Returns the result as a sample.
    pub fn measured(self, pages: &Pages) -> Measured {
        let measured = percentiles(&self.latencies.buckets)
            .into_iter()
            .fold(pages.measured(), |m, (name, ms)| m.metric(name, ms));
        let mut measured = measured.metric("served_per_second", self.per_second());
        measured.histograms.push(self.latencies);
        measured
    }
}

/// Returns the percentiles of request latencies, by their metrics' names, in ms.
pub fn percentiles(buckets: &[(u64, u64)]) -> [(&'static str, f64); 5] {
    [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)]
        .map(|(name, share)| (name, percentile(buckets, share) as f64 / 1e6))
}

/// Plans arrivals as from many independent clients.
pub fn plan(bench: &Bench, rate: f64, pages: &Pages) -> Vec<Planned<Touch>> {
    arrivals::plan(rate, bench.sample * LONGER, &mut bench.random(), |random| touch(random, pages))
}

/// Plans `count` requests that all arrive at once.
pub fn crowd(bench: &Bench, pages: &Pages, count: usize) -> Vec<Planned<Touch>> {
    let mut random = bench.random();
    (0..count).map(|_| Planned { at: Duration::ZERO, request: touch(&mut random, pages) }).collect()
}

fn touch(random: &mut SmallRng, pages: &Pages) -> Touch {
    random.random_ratio(1, COLD).then(|| pages.take()).flatten()
}

/// Returns the bucket in which `share` of all is reached.
pub fn percentile(buckets: &[(u64, u64)], share: f64) -> u64 {
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    let reached = |&&(_, count): &&(u64, u64)| {
        seen += count;
        seen >= wanted
    };
    buckets.iter().find(reached).map_or(0, |(low, _)| *low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_buckets() {
        let buckets = [(1, 50), (10, 49), (100, 1)];
        let at = |share| percentile(&buckets, share);
        assert_eq!((at(0.5), at(0.51), at(0.99), at(0.999), at(1.0)), (1, 10, 10, 100, 100));
        assert_eq!(percentile(&[], 0.5), 0);
        let [(name, p50), .., (_, max)] = percentiles(&[(1_500_000, 2), (9_000_000, 1)]);
        assert_eq!((name, p50, max), ("p50_ms", 1.5, 9.0));
    }
}
