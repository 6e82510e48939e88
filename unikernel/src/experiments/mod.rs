//! Experiments: samples at every point of a grid, in every mode, repeated.
//!
//! | file | measures |
//! |---|---|
//! | `overlap` | the time to read evicted pages with few and many tasks |
//! | `compute` | the work that a computing task keeps while others fault |
//! | `cost` | pages one after the other, for a host that counts instructions |
//! | `halt` | the price of `NonPreemptible` sections |
//! | `peer` | overlap, computing and requests, for guests of any system |
//! | `prefetch` | announced memory against plain faulting |
//! | `storm` | many tasks, all memory evicted |
//! | `swap` | the host's own swap in place of the pager |
//! | `sweep` | what a page costs at any latency |
//! | `tail` | request latencies under an open-loop load |
//! | `bench` | what they share: memory, tasks, eviction |
//!
//! Modes, points and repetitions are interleaved, the modes fastest (A B C A B
//! C …), so that a slow phase of the machine touches all of them alike.

mod bench;
mod compute;
mod cost;
mod halt;
mod overlap;
mod peer;
mod prefetch;
mod storm;
mod swap;
mod sweep;
mod tail;

use apf_service::Waits;
use apf_vocabulary::grid::{self, Axis, Point};
use apf_vocabulary::sample::WRONG_PAGES;
use apf_vocabulary::{Message, Mode, Sample};

use crate::{host, platform};
use bench::{Bench, Measured};

/// Measures one sample. The service is as `mode` says.
pub type Measure = fn(&Bench, &Point) -> Measured;

/// The experiment of this name.
pub fn find(name: &str) -> Option<Measure> {
    match name {
        // Two questions, the same workload.
        "overlap" | "latency" => Some(overlap::measure),
        "compute" => Some(compute::measure),
        "capacity" => Some(peer::capacity),
        "cost" => Some(cost::measure),
        "peer" => Some(peer::measure),
        "halt" => Some(halt::measure),
        "prefetch" => Some(prefetch::measure),
        "storm" => Some(storm::measure),
        "swap" => Some(swap::measure),
        "sweep" => Some(sweep::measure),
        "tail" => Some(tail::measure),
        _ => None,
    }
}

/// What is to be measured.
#[derive(Debug)]
pub struct Plan<'a> {
    pub axes: &'a [Axis],
    pub modes: &'a [Mode],
    pub repetitions: u32,
    /// About how long a sample is to take.
    pub sample_ms: u64,
    /// Page-ins take as long as the host was told, whatever the point says.
    pub latency_is_given: bool,
    /// Asynchronous waits are by schedule wherever that is safe, even if halting is cheaper.
    pub always_schedule: bool,
    pub region_pages: usize,
    /// Pages that a sample reads, where it does not find that out by itself.
    pub pages: usize,
    /// Faults that are recorded one by one in a sample, on each core.
    pub record: usize,
    /// Requests a second at each point, where that is no parameter; none if it is empty.
    pub loads: &'a [f64],
    pub seed: u64,
}

/// Measures every sample of the plan and tells each.
///
/// # Errors
/// Faults cannot wait as a mode says; why, in one line.
pub fn run(measure: Measure, plan: &Plan) -> Result<(), String> {
    let mut bench = Bench::new(plan);
    let points = grid::points(plan.axes);
    let waits = if plan.always_schedule { Waits::ByContext } else { Waits::Auto };
    host::tell(&Message::Samples { total: points.len() * plan.modes.len() * plan.repetitions as usize });
    // Where no latency is set there is none to be without.
    let timed = plan.axes.iter().any(|axis| axis.name == "page_latency_ms");
    if timed {
        // The first faults after booting cost the host some three times as much as all others.
        fault_cost(&mut bench)?;
    }
    for repetition in 0..plan.repetitions {
        for (index, point) in points.iter().enumerate() {
            bench.begin_point(plan.loads.get(index).copied());
            let cost = if timed { fault_cost(&mut bench)? } else { None };
            for &mode in plan.modes {
                bench.mode = mode;
                // Once is enough to look at, and keeps documents small.
                let record = if repetition == 0 { plan.record } else { 0 };
                let service = platform::start(mode, waits, record)?;
                bench.begin_sample();
                let mut measured = measure(&bench, point);
                let (counters, histograms, faults) = bench.counted();
                measured.histograms.extend(histograms);
                measured.metrics.extend(cost.map(|cost| ("fault_cost_ms".to_owned(), cost)));
                if let Some(service) = service {
                    service.stop();
                }
                // What is said of it touches memory that was never touched before.
                host::measured();
                let mut counts = counters.to_counts();
                counts.insert(WRONG_PAGES.into(), measured.wrong_pages);
                host::tell(&Message::sample(Sample {
                    mode,
                    parameters: point.clone(),
                    repetition,
                    boot: 0,
                    metrics: measured.metrics,
                    counts,
                    histograms: measured.histograms,
                    faults,
                }));
            }
        }
    }
    // The host looks at its counters when it hears of a sample, and the last
    // one must not be the end of the program.
    host::restore();
    Ok(())
}

/// What a fault costs without any latency, in milliseconds: waits by halt, one
/// task. It bounds what any way of waiting can reach, and is taken right beside
/// the samples, since the speed of a shared machine changes. `None` where waits
/// cannot be made halts.
fn fault_cost(bench: &mut Bench) -> Result<Option<f64>, String> {
    if !platform::CAN_HALT {
        return Ok(None);
    }
    bench.mode = Mode::Halt;
    let service = platform::start(Mode::Halt, Waits::Auto, 0)?;
    let cost = bench.fault_cost_ms();
    if let Some(service) = service {
        service.stop();
    }
    Ok(Some(cost))
}
