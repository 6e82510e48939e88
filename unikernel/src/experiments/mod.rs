//! Experiments: samples at every point of a grid, in every mode, repeated.
//!
//! | file | measures |
//! |---|---|
//! | `overlap` | time to read evicted pages with few and many tasks; also as `latency`, for the stages of a fault |
//! | `compute` | work that a computing task keeps while others fault |
//! | `cost` | pages read by one task in random order, for a host that counts instructions |
//! | `halt` | price of `NonPreemptible` sections |
//! | `peer` | overlap, computing and requests, for guests of any system; `capacity`: the most requests they serve |
//! | `prefetch` | announced memory compared with plain faulting |
//! | `run` | first look: time to read pages while one task computes |
//! | `serve` | a key-value store under an open-loop load, a share of its values local |
//! | `storm` | many tasks, all memory evicted |
//! | `swap` | the host's own swap in place of the pager |
//! | `sweep` | cost of a page at any latency |
//! | `tail` | request latencies under an open-loop load |
//! | `open_loop` | requests that start at planned times, and the workers that serve them |
//! | `bench` | shared parts: memory, tasks, eviction |
//!
//! Modes, points and repetitions are interleaved, the modes fastest (A B C A B
//! C …), so that a slow phase of the machine touches all of them alike.

mod bench;
mod compute;
mod cost;
mod halt;
mod open_loop;
mod overlap;
mod peer;
mod prefetch;
mod run;
mod serve;
mod storm;
mod swap;
mod sweep;
mod tail;

use std::time::Duration;

use apf_service::Waits;
use apf_vocabulary::grid::{self, Axis, Point};
use apf_vocabulary::page::PAGES_PER_MIB;
use apf_vocabulary::sample::WRONG_PAGES;
use apf_vocabulary::{Message, Mode, Sample};
use clap::Args;

use crate::{host, platform};
use bench::{Bench, Measured};

/// Measures one sample, with the service in the bench's mode.
type Measure = fn(&Bench, &Point) -> Measured;

/// Returns the experiment of this name.
fn find(name: &str) -> Result<Measure, String> {
    Ok(match name {
        // Two experiments, the same workload.
        "overlap" | "latency" => overlap::measure,
        "compute" => compute::measure,
        "capacity" => peer::capacity,
        "cost" => cost::measure,
        "peer" => peer::measure,
        "halt" => halt::measure,
        "prefetch" => prefetch::measure,
        "run" => run::measure,
        "serve" => serve::measure,
        "storm" => storm::measure,
        "swap" => swap::measure,
        "sweep" => sweep::measure,
        "tail" => tail::measure,
        _ => return Err("this guest has no such experiment".into()),
    })
}

/// The samples to measure.
#[derive(Debug, Args)]
pub struct Plan {
    /// Experiment to measure
    #[arg(long, default_value = "run", value_parser = find)]
    experiment: Measure,
    /// A parameter and its values: tasks=1,2,4 (one option for each)
    #[arg(long, default_values = ["page_latency_ms=20", "tasks=32", "pages=2560"])]
    at: Vec<Axis>,
    /// Ways in which faults wait, in turn
    #[arg(long, value_delimiter = ',', default_value = "blocked,halt,async")]
    modes: Vec<Mode>,
    /// Number of times that each point is measured
    #[arg(long, default_value_t = 1)]
    repetitions: u32,
    /// Approximate length of a sample in milliseconds
    #[arg(long, default_value_t = 1000)]
    sample_ms: u64,
    /// Memory to fill with fingerprints, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    region_mib: u16,
    /// Seed of fingerprints and random order
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults that are recorded one by one in each sample of the first repetition, on each core
    #[arg(long, default_value_t = 1024)]
    record: usize,
    /// Requests a second at each point, in their order, where that is no parameter
    #[arg(long, value_delimiter = ',')]
    loads: Vec<f64>,
    /// Page-ins take the time that the host has set, whatever the point says
    #[arg(long)]
    latency_is_given: bool,
    /// Async waits are by schedule, even where halting is cheaper
    #[arg(long)]
    always_schedule: bool,
}

impl Plan {
    fn region_pages(&self) -> usize {
        usize::from(self.region_mib) * PAGES_PER_MIB as usize
    }
}

/// Measures every sample of the plan and sends each, then compares all of the memory. Modes in
/// which faults cannot wait are left out, and the host gets the reason.
pub fn run(plan: &Plan) {
    let pages = plan.region_pages();
    host::hello(pages);
    let sample = Duration::from_millis(plan.sample_ms);
    let mut bench = Bench::new(pages, plan.seed, sample, plan.latency_is_given);
    let points = grid::points(&plan.at);
    let waits = if plan.always_schedule { Waits::ByContext } else { Waits::Auto };
    host::send(&Message::Samples { total: points.len() * plan.modes.len() * plan.repetitions as usize });
    // Without a set latency there is none to leave out.
    let timed = plan.at.iter().any(|axis| axis.name == "page_latency_ms");
    if timed {
        // The first faults after booting cost the host about three times as much as later ones.
        fault_cost(&mut bench);
    }
    for repetition in 0..plan.repetitions {
        for (index, point) in points.iter().enumerate() {
            bench.begin_point(plan.loads.get(index).copied());
            let cost = if timed { fault_cost(&mut bench) } else { None };
            for &mode in &plan.modes {
                bench.mode = mode;
                // One repetition is enough, and keeps documents small.
                let record = if repetition == 0 { plan.record } else { 0 };
                let work = || {
                    bench.begin_sample();
                    let mut measured = (plan.experiment)(&bench, point);
                    let faults = bench.recorded(&mut measured);
                    (measured, faults)
                };
                let Some((mut measured, faults)) = with_service(mode, waits, record, work) else {
                    continue;
                };
                // Now that no fault can raise it: the service has stopped, and the stack of a task
                // that disarms a core may have been touched for the first time.
                let counters = bench.counted();
                measured.metrics.extend(cost.map(|cost| ("fault_cost_ms".to_owned(), cost)));
                // Before the message about the sample, which may touch memory for the first time.
                host::measured();
                let mut counts = counters.to_counts();
                counts.insert(WRONG_PAGES.into(), measured.wrong_pages);
                host::send(&Message::sample(Sample {
                    repetition,
                    metrics: measured.metrics,
                    counts,
                    histograms: measured.histograms,
                    faults,
                    ..Sample::new(mode, point.clone())
                }));
            }
        }
    }
    host::restore();
    let (pages, wrong) = bench.compare_all();
    host::send(&Message::Compared { pages, wrong, counters: host::counters() });
}

/// Does `work` while faults wait in the given mode. `None` if they cannot; the host gets the
/// reason.
fn with_service<T>(mode: Mode, waits: Waits, record: usize, work: impl FnOnce() -> T) -> Option<T> {
    let service = match platform::start(mode, waits, record) {
        Ok(service) => service,
        Err(reason) => {
            host::send(&Message::ServiceOff { reason });
            return None;
        }
    };
    let result = work();
    if let Some(service) = service {
        service.stop();
    }
    Some(result)
}

/// Measures the cost of a fault without latency, in milliseconds: waits by halt, one
/// task. No way of waiting is faster. It is measured beside the samples, since the speed of
/// a shared machine changes. `None` if waits by halt cannot be requested.
fn fault_cost(bench: &mut Bench) -> Option<f64> {
    if !platform::CAN_HALT {
        return None;
    }
    bench.mode = Mode::Halt;
    with_service(Mode::Halt, Waits::Auto, 0, || bench.fault_cost_ms())
}
