//! Work without a host that takes part: `cargo xtask run --app` evicts the memory of any program.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use apf_service::Config;

use crate::region::Region;

const PAGES: usize = 512;
const TASKS: usize = 8;
const STACK: usize = 64 * 1024;

/// Reads the same pages again and again for so long, by several tasks. The exit code is 1 if a page was
/// wrong.
pub fn run(seed: u64, duration: Duration) -> ExitCode {
    match apf_service::start(Config::default()) {
        Ok(_) => println!("the service runs"),
        Err(reason) => println!("the service is off: {reason}"),
    }
    let region = Region::filled(PAGES, seed);
    let (began, reads, wrong) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let read = |task: usize| {
        for page in (task..PAGES).step_by(TASKS).cycle() {
            if began.elapsed() > duration {
                break;
            }
            wrong.fetch_add(u64::from(!region.is_right(seed, page)), Ordering::Relaxed);
            reads.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
        }
    };
    let read = &read;
    thread::scope(|scope| {
        for task in 0..TASKS {
            let task = Builder::new().stack_size(STACK).spawn_scoped(scope, move || read(task));
            task.expect("the guest needs more memory for a task");
        }
    });
    let [reads, wrong] = [reads, wrong].map(AtomicU64::into_inner);
    println!("alone: {reads} pages read, {wrong} wrong");
    ExitCode::from(u8::from(wrong > 0))
}
