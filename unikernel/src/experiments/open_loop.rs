//! Requests that start at planned times, whether or not earlier ones have been served, and workers that
//! serve them.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use apf_load::Planned;

use super::bench::Bench;

/// Queue of requests for the workers.
struct Queue<T> {
    requests: Mutex<(VecDeque<Planned<T>>, bool)>,
    arrived: Condvar,
}

/// Has `workers` tasks serve the requests of `plan`: each calls `serve` with a request, and with a function that
/// returns the time since its planned start. `evict` evicts the memory once the tasks exist. Returns the seconds until
/// the last request was served.
pub fn run<T: Copy + Send + 'static>(
    bench: &Bench,
    plan: &[Planned<T>],
    workers: usize,
    evict: impl FnOnce(),
    serve: impl Fn(Planned<T>, &dyn Fn() -> Duration) + Clone + Send + 'static,
) -> f64 {
    let queue = Arc::new(Queue::with_room_for(plan));
    let origin = Arc::new(Mutex::new(Instant::now()));
    let start = Arc::new(Barrier::new(workers + 1));
    let workers = bench.tasks(workers, &start, {
        let (queue, origin) = (queue.clone(), origin.clone());
        move |_| {
            let origin = *lock(&origin);
            while let Some(planned) = queue.next() {
                serve(planned, &|| origin.elapsed().saturating_sub(planned.at));
            }
        }
    });
    evict();
    let began = Instant::now();
    *lock(&origin) = began;
    start.wait();
    for &planned in plan {
        // Sleeping would miss the time by milliseconds.
        while began.elapsed() < planned.at {
            thread::yield_now();
        }
        queue.push(planned);
    }
    queue.close();
    for worker in workers {
        worker.join().expect("worker");
    }
    began.elapsed().as_secs_f64()
}

impl<T: Copy> Queue<T> {
    /// Makes a queue whose memory has been touched: a first touch while requests are served
    /// would delay them.
    fn with_room_for(plan: &[Planned<T>]) -> Self {
        let mut requests = VecDeque::from(plan.to_vec());
        requests.clear();
        Self { requests: Mutex::new((requests, false)), arrived: Condvar::new() }
    }

    fn push(&self, request: Planned<T>) {
        lock(&self.requests).0.push_back(request);
        self.arrived.notify_one();
    }

    /// Closes the queue to further requests.
    fn close(&self) {
        lock(&self.requests).1 = true;
        self.arrived.notify_all();
    }

    /// Takes the oldest request. Waits for one; `None` if the queue is closed and empty.
    fn next(&self) -> Option<Planned<T>> {
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
    fn a_closed_queue_ends_when_it_is_empty() {
        let queue = Queue::with_room_for(&[]);
        queue.push(Planned { at: Duration::from_secs(1), request: 3 });
        queue.close();
        assert_eq!(queue.next().map(|planned| planned.request), Some(3));
        assert!(queue.next().is_none());
    }
}
