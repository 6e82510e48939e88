//! Other tasks, and signs that they give.
//!
//! Tasks of equal priority take turns when they yield. A check of the order in which tasks
//! run waits for signs by yielding instead of blocking, so that the only futex in use is the
//! one under test.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use apf_service::{CoreId, this_core};

/// Bytes of a stack; small, because the kernel keeps only a tenth of its memory for stacks.
const STACK: usize = 64 * 1024;

/// Starts a task that ends within `scope`.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    spawn_with_stack(scope, STACK, body)
}

/// [`spawn`] with a stack of `bytes`.
pub fn spawn_with_stack<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    bytes: usize,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    Builder::new()
        .stack_size(bytes)
        .spawn_scoped(scope, body)
        .expect("cannot start a task: the guest needs more memory")
}

/// Runs `body` in a task on `core`. The kernel assigns new tasks to the cores in turn, so of
/// as many tasks as cores, the one on `core` does the work.
pub fn on_core<'scope>(
    scope: &'scope Scope<'scope, '_>,
    core: CoreId,
    body: impl FnOnce() + Send + Copy + 'scope,
) {
    for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
        spawn(scope, move || {
            if this_core() == core {
                body();
            }
        });
    }
}

/// A task that counts its turns, which shows whether another task ran.
#[derive(Debug, Default)]
pub struct Ticker {
    stop: AtomicBool,
    turns: Sign,
}

impl Ticker {
    /// Counts until [`stop`](Self::stop).
    pub fn run(&self) {
        self.run_with(|| ());
    }

    /// [`run`](Self::run) that does `work` at each turn.
    pub fn run_with(&self, mut work: impl FnMut()) {
        while !self.stop.load(Ordering::Relaxed) {
            work();
            self.turns.give();
            thread::yield_now();
        }
    }

    /// Returns the number of turns so far.
    pub fn turns(&self) -> u64 {
        self.turns.count()
    }

    /// Yields until it has had `count` more turns.
    pub fn wait_for_more(&self, count: u64) {
        self.turns.wait_for(self.turns() + count);
    }

    /// Ends [`run`](Self::run).
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A counter of an event that tasks wait for.
#[derive(Debug, Default)]
pub struct Sign(AtomicU64);

impl Sign {
    /// Counts the event.
    pub fn give(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the count.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Yields until the count is at least `count`.
    pub fn wait_for(&self, count: u64) {
        while self.count() < count {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_counts_until_stopped() {
        let ticker = Ticker::default();
        thread::scope(|scope| {
            spawn(scope, || ticker.run());
            ticker.turns.wait_for(10);
            ticker.stop();
        });
        assert!(ticker.turns() >= 10);
    }
}
