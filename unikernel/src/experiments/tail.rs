//! `tail`: request latencies under an open-loop load over partly evicted data.
//!
//! Parameters: `requests_per_second`, `page_latency_ms`. Requests have planned
//! start times, drawn beforehand, and latency counts from those, so that a
//! request that could not even start in time is not left out (no coordinated
//! omission). One in four touches an evicted page.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use apf_service::OUTSTANDING_PER_VCPU;
use apf_vocabulary::Histogram;
use apf_vocabulary::grid::Point;
use rand::Rng;
use rand::rngs::SmallRng;

use super::bench::{Bench, Measured, Pages};

/// As many as the host keeps faults outstanding.
const WORKERS: usize = OUTSTANDING_PER_VCPU;
/// One request in `COLD` touches an evicted page.
const COLD: u32 = 4;
/// Factor on the time of a sample: tails need more requests than a mean does.
const LONGER: u32 = 4;

/// A planned request.
#[derive(Clone, Copy)]
pub struct Request {
    /// Planned start.
    pub at: Duration,
    /// Evicted page that it touches; `None` for resident memory.
    page: Option<usize>,
}

/// Queue of requests for the workers.
struct Queue {
    requests: Mutex<(VecDeque<Request>, bool)>,
    arrived: Condvar,
}

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
pub fn serve(bench: &Bench, point: &Point, pages: &Arc<Pages>, plan: &[Request], workers: usize) -> Served {
    let (queue, latencies) =
        (Arc::new(Queue::with_room_for(plan)), Arc::new(apf_service::Histogram::default()));
    let origin = Arc::new(Mutex::new(Instant::now()));
    let start = Arc::new(Barrier::new(workers + 1));
    let workers = bench.tasks(workers, &start, {
        let (queue, pages, latencies, origin) =
            (queue.clone(), pages.clone(), latencies.clone(), origin.clone());
        let hot: Arc<Vec<u8>> = Arc::new(vec![7; apf_vocabulary::PAGE_BYTES]);
        move |_| {
            let origin = *lock(&origin);
            while let Some(request) = queue.next() {
                match request.page {
                    Some(page) => pages.read(page),
                    None => {
                        std::hint::black_box(hot.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                    }
                }
                let latency = origin.elapsed().saturating_sub(request.at);
                latencies.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    });
    bench.evict(point);
    let began = Instant::now();
    *lock(&origin) = began;
    start.wait();
    for &request in plan {
        // Sleeping would miss the time by milliseconds.
        while began.elapsed() < request.at {
            thread::yield_now();
        }
        queue.push(request);
    }
    queue.close();
    for worker in workers {
        worker.join().expect("worker");
    }
    let seconds = began.elapsed().as_secs_f64();
    Served { count: plan.len(), seconds, latencies: Histogram::sum("request", 1000.0, [&*latencies]) }
}

impl Served {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Returns the result as a sample.
    pub fn measured(self, pages: &Pages) -> Measured {
        let ms = |share| percentile(&self.latencies.buckets, share) as f64 / 1e6;
        let metrics =
            [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)];
        let mut measured =
            metrics.into_iter().fold(pages.measured(), |m, (name, share)| m.metric(name, ms(share)));
        measured = measured.metric("served_per_second", self.per_second());
        measured.histograms.push(self.latencies);
        measured
    }
}

/// Plans arrivals as from many independent clients: exponentially distributed gaps.
pub fn plan(bench: &Bench, rate: f64, pages: &Pages) -> Vec<Request> {
    let mut random = bench.random();
    let end = bench.sample * LONGER;
    let mut at = Duration::ZERO;
    std::iter::from_fn(|| {
        at += Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate);
        (at < end).then(|| request(at, &mut random, pages))
    })
    .collect()
}

/// Plans `count` requests that all arrive at once.
pub fn crowd(bench: &Bench, pages: &Pages, count: usize) -> Vec<Request> {
    let mut random = bench.random();
    (0..count).map(|_| request(Duration::ZERO, &mut random, pages)).collect()
}

fn request(at: Duration, random: &mut SmallRng, pages: &Pages) -> Request {
    Request { at, page: random.random_ratio(1, COLD).then(|| pages.take()).flatten() }
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

impl Queue {
    /// Makes a queue whose memory has been touched: a first touch while requests are served
    /// would delay them.
    fn with_room_for(plan: &[Request]) -> Self {
        let mut requests = VecDeque::from(plan.to_vec());
        requests.clear();
        Self { requests: Mutex::new((requests, false)), arrived: Condvar::new() }
    }

    fn push(&self, request: Request) {
        lock(&self.requests).0.push_back(request);
        self.arrived.notify_one();
    }

    /// Closes the queue to further requests.
    fn close(&self) {
        lock(&self.requests).1 = true;
        self.arrived.notify_all();
    }

    /// Takes the oldest request. Waits for one; `None` if the queue is closed and empty.
    fn next(&self) -> Option<Request> {
        let waiting = lock(&self.requests);
        let mut requests = self
            .arrived
            .wait_while(waiting, |(requests, closed)| requests.is_empty() && !*closed)
            .unwrap_or_else(PoisonError::into_inner);
        requests.0.pop_front()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    }

    #[test]
    fn a_closed_queue_ends_when_it_is_empty() {
        let queue = Queue::with_room_for(&[]);
        let request = Request { at: Duration::from_secs(1), page: Some(3) };
        queue.push(request);
        queue.close();
        assert_eq!(queue.next().and_then(|request| request.page), Some(3));
        assert!(queue.next().is_none());
    }
}
