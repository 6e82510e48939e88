//! `peer`: Hermit beside a Linux guest that runs the same program, as its only process,
//! with the same memory, VMM and pager.

use anyhow::{Result, ensure};
use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::Point;

use super::definition::{
    COMPUTE_KEPT, Definition, FAULT_COST, LATENCY, LATENCY_PANEL, MS_PER_PAGE, PAGES, PAGES_TO_READ, fixed,
    varied,
};
use super::overlap;
use super::statistics::{at, metric, spread};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "peer",
    question: "What do the same lines of a program reach on Hermit and as the only process of a Linux \
               guest, each with async page faults and without?",
    variable: ("tasks", "tasks that fault"),
    panel: LATENCY_PANEL,
    baseline: Mode::LinuxAsync,
    falsified_by: "a Linux guest with async page faults that does as well",
    metrics: &[
        MS_PER_PAGE,
        COMPUTE_KEPT,
        ("core_ms_per_page", "core time that a page costs the computing task, in ms", Better::Lower),
        ("p999_ms", "99.9th percentile of request latency in ms, at 70 % load", Better::Lower),
        ("p99_ms", "99th percentile of request latency in ms, at 70 % load", Better::Lower),
        ("p90_ms", "90th percentile of request latency in ms, at 70 % load", Better::Lower),
        ("p50_ms", "median request latency in ms, at 70 % load", Better::Lower),
        ("max_ms", "largest request latency in ms, at 70 % load", Better::Lower),
        ("touch_p50_ms", "median time of a touch, as its task sees it, in ms", Better::Lower),
        ("touch_p99_ms", "99th percentile of a touch's time in ms", Better::Lower),
        (CAPACITY, "requests in a second, all there from the start", Better::Higher),
        ("pages_per_second", "pages read in a second beside the computing task", Better::Higher),
        ("served_per_second", "requests served in a second, at 70 % load", Better::Higher),
        ("late_seconds", "time after the last planned request until all were served, in s", Better::Lower),
        ("requests_per_second", "requests planned in a second, at 70 % load", Better::Neither),
        PAGES,
        (FAULT_COST.0, "a fault of Hermit without latency, by halt, in ms", Better::Lower),
    ],
    modes: &[Mode::Blocked, Mode::Async, Mode::LinuxBlocked, Mode::LinuxAsync],
    loaded: true,
    // The claims are about one task and about 32.
    parameters: &[
        fixed(LATENCY, &[LATENCY_MS]),
        varied(PAGES_TO_READ, &[512.0], &[2048.0]),
        varied("tasks", &[1.0, 32.0], &[1.0, 8.0, 32.0]),
    ],
    region_mib: 32,
    references: overlap::ideals,
    claims: &[reading, computing, requests],
    ..Definition::COMMON
};

/// Metric of which the load is a share.
pub const CAPACITY: &str = "capacity_per_second";
/// That share.
const LOAD: f64 = 0.7;

/// Requests in a second at each of `points`: a share of what the slower of both guests
/// serves async. Each guest gets the same.
pub fn loads(points: &[Point], hermit: &[Point], linux: &[Point]) -> Result<Vec<f64>> {
    ensure!(
        hermit.len() == points.len() && linux.len() == points.len(),
        "a capacity is missing: {} points, {} of Hermit, {} of Linux",
        points.len(),
        hermit.len(),
        linux.len()
    );
    let capacity = |metrics: &Point| metrics.get(CAPACITY).copied().unwrap_or_default();
    let least = hermit.iter().zip(linux).map(|(a, b)| capacity(a).min(capacity(b)));
    // One decimal: the figure is printed, and a user may want to type it.
    let loads: Vec<f64> = least.map(|capacity| (capacity * LOAD * 10.0).round() / 10.0).collect();
    ensure!(loads.iter().all(|&load| load > 0.0), "a guest served no request");
    Ok(loads)
}

fn reading(samples: &[Sample]) -> Option<Claim> {
    let limit = Limit {
        text: "reading pages with 32 tasks takes at most a third of Linux's time, both async, at 5 ms a page",
        tasks: 32.0,
        metric: "ms_per_page",
        share: 1.0 / 3.0,
        floor: |cost| {
            (cost.max(LATENCY_MS / 32.0), "32 share a page's latency, and a fault costs c without any")
        },
    };
    limit.against_linux(samples)
}

fn computing(samples: &[Sample]) -> Option<Claim> {
    let limit = Limit {
        text: "with one faulting task a page costs the computing task at most half of what it does on Linux, \
               both async, at 5 ms a page",
        tasks: 1.0,
        metric: "core_ms_per_page",
        share: 0.5,
        floor: |cost| (cost, "a fault costs c without any latency"),
    };
    limit.against_linux(samples)
}

fn requests(samples: &[Sample]) -> Option<Claim> {
    let limit = Limit {
        text: "the 99.9th percentile of requests to 32 tasks is at most half of Linux's, both async, at 70 % of \
               what the slower one serves, at 5 ms a page",
        tasks: 32.0,
        metric: "p999_ms",
        share: 0.5,
        floor: |_| (LATENCY_MS, "one request in four waits for a page"),
    };
    limit.against_linux(samples)
}

/// The page latency of the claims.
const LATENCY_MS: f64 = 5.0;

/// Largest share of Linux's figure that Hermit may need.
struct Limit {
    text: &'static str,
    tasks: f64,
    metric: &'static str,
    share: f64,
    /// Attainable figure in ms for a host's cost of a fault, and the reason.
    floor: fn(f64) -> (f64, &'static str),
}

impl Limit {
    fn against_linux(&self, samples: &[Sample]) -> Option<Claim> {
        let point = [("tasks", self.tasks), (LATENCY, LATENCY_MS)];
        let of = |mode, name| metric(at(samples, mode, &point), name);
        let (hermit, linux) = (of(Mode::Async, self.metric)?, of(Mode::LinuxAsync, self.metric)?);
        let ratio = hermit.median / linux.median;
        let limit = of(Mode::Async, FAULT_COST.0).map(|cost| {
            let (floor, why) = (self.floor)(cost.median);
            let share = floor / linux.median;
            format!("; attainable are {share:.2} times ({:.1} µs): {why}", floor * 1000.0)
        });
        Some(Claim {
            text: self.text.into(),
            measured: format!(
                "{ratio:.2} times: {} and {} µs{}",
                spread(&hermit, 1000.0),
                spread(&linux, 1000.0),
                limit.unwrap_or_default()
            ),
            holds: linux.median > 0.0 && ratio <= self.share,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn with(mode: Mode, tasks: f64, name: &str, value: f64) -> Sample {
        sample(mode, &[("tasks", tasks), (LATENCY, 5.0)], &[(name, value)])
    }

    #[test]
    fn claims_hold_or_not_by_the_figures() {
        let of = |read: f64, cost: f64, tail: f64| {
            let both = |tasks, name, hermit, linux| {
                [with(Mode::Async, tasks, name, hermit), with(Mode::LinuxAsync, tasks, name, linux)]
            };
            let samples = [
                both(32.0, "ms_per_page", read, 3.0),
                both(1.0, "core_ms_per_page", cost, 2.0),
                both(32.0, "p999_ms", tail, 40.0),
            ];
            DEFINITION.claims.iter().map(|claim| claim(&samples.concat()).unwrap().holds).collect::<Vec<_>>()
        };
        assert_eq!(of(1.0, 1.0, 20.0), [true, true, true]);
        assert_eq!(of(1.01, 1.01, 20.1), [false, false, false]);
    }

    #[test]
    fn a_claim_has_the_attainable_figure() {
        let mut samples = [
            with(Mode::Async, 1.0, "core_ms_per_page", 0.7),
            with(Mode::LinuxAsync, 1.0, "core_ms_per_page", 1.0),
        ];
        assert!(!computing(&samples).unwrap().measured.contains("attainable"));
        samples[0].metrics.insert(FAULT_COST.0.into(), 0.6);
        let claim = computing(&samples).unwrap();
        assert!(
            claim.measured.contains("0.70 times")
                && claim.measured.contains("attainable are 0.60 times (600.0 µs)"),
            "{claim:?}"
        );
    }

    #[test]
    fn the_load_is_a_share_of_what_the_slower_guest_serves() {
        let of = |capacities: &[f64]| -> Vec<Point> {
            capacities.iter().map(|&c| Point::from([(CAPACITY.into(), c)])).collect()
        };
        let points = of(&[0.0, 0.0]);
        assert_eq!(loads(&points, &of(&[100.0, 4000.0]), &of(&[200.0, 1000.0])).unwrap(), [70.0, 700.0]);
        assert!(loads(&points, &of(&[100.0]), &of(&[200.0, 1000.0])).is_err());
        assert!(loads(&points, &of(&[100.0, 0.0]), &of(&[200.0, 1000.0])).is_err());
    }
}
