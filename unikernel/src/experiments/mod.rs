//! Experiments: samples at every point of a grid, in every mode, repeated.
//!
//! | file | measures |
//! |---|---|
//! | `overlap` | the time to read evicted pages with few and many tasks |
//! | `compute` | the work that a computing task keeps while others fault |
//! | `cost` | pages one after the other, for a host that counts instructions |
//! | `halt` | the price of `NonPreemptible` sections |
//! | `prefetch` | announced memory against plain faulting |
//! | `storm` | many tasks, all memory evicted |
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
mod prefetch;
mod storm;
mod sweep;
mod tail;

use apf_service::{Config, Service, StartError, Waits};
use unikernel::grid::{self, Axis, Point};
use unikernel::sample::Sample;
use unikernel::wire::{Message, Mode};

use crate::host;
use bench::{Bench, Measured};

/// Measures one sample. The service is as `mode` says.
pub type Measure = fn(&Bench, &Point) -> Measured;

/// The experiment of this name.
pub fn find(name: &str) -> Option<Measure> {
    match name {
        // Two questions, the same workload.
        "overlap" | "latency" => Some(overlap::measure),
        "compute" => Some(compute::measure),
        "cost" => Some(cost::measure),
        "halt" => Some(halt::measure),
        "prefetch" => Some(prefetch::measure),
        "storm" => Some(storm::measure),
        "sweep" => Some(sweep::measure),
        "tail" => Some(tail::measure),
        _ => None,
    }
}

/// Faults that are recorded one by one in a sample, on each core.
const RECORDED: usize = 1024;

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
    /// The host counts instructions: asynchronous waits are by schedule wherever that is safe,
    /// even if halting is cheaper, and single faults are not recorded.
    pub profiled: bool,
    pub region_pages: usize,
    pub seed: u64,
}

/// Measures every sample of the plan and tells each.
pub fn run(measure: Measure, plan: &Plan) -> Result<(), StartError> {
    let mut bench = Bench::new(plan);
    let points = grid::points(plan.axes);
    let waits = if plan.profiled { Waits::ByContext } else { Waits::Auto };
    host::tell(&Message::Samples { total: points.len() * plan.modes.len() * plan.repetitions as usize });
    for repetition in 0..plan.repetitions {
        for point in &points {
            bench.begin_point();
            let cost = fault_cost(&mut bench)?;
            for &mode in plan.modes {
                bench.mode = mode;
                // Once is enough to look at, and keeps documents small.
                let record = if repetition == 0 && !plan.profiled { RECORDED } else { 0 };
                let service = start(mode, waits, record)?;
                let mut measured = measure(&bench, point);
                let (counters, histograms, faults) = bench.counted();
                measured.histograms.extend(histograms);
                measured.metrics.insert("fault_cost_ms".into(), cost);
                if let Some(service) = service {
                    service.stop();
                }
                host::tell(&Message::Sample(Box::new(Sample {
                    mode,
                    point: point.clone(),
                    repetition,
                    metrics: measured.metrics,
                    wrong_pages: measured.wrong_pages,
                    counters,
                    histograms: measured.histograms,
                    faults,
                })));
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
/// the samples, since the speed of a shared machine changes.
fn fault_cost(bench: &mut Bench) -> Result<f64, StartError> {
    bench.mode = Mode::Halt;
    let service = start(Mode::Halt, Waits::Auto, 0)?;
    let cost = bench.fault_cost_ms();
    if let Some(service) = service {
        service.stop();
    }
    Ok(cost)
}

/// Starts the service if `mode` wants it: asynchronous waits are as `waits` says, and there
/// is room to record `record` faults a core.
pub fn start(mode: Mode, waits: Waits, record: usize) -> Result<Option<Service>, StartError> {
    let waits = match mode {
        Mode::Blocked => return Ok(None),
        Mode::Async => waits,
        Mode::Halt => Waits::Halt,
    };
    apf_service::start(Config { waits, record, ..Config::default() }).map(Some)
}
