//! Documents made up for tests: no figure in them was measured.
//!
//! A fault costs [`COST_US`] and a page takes the panel's latency; seeded noise of a few percent
//! makes repetitions differ.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::Report;
use crate::document::{
    Better, Boot, Claim, Document, Experiment, Fault, Histogram, Metric, Mode, Parameter, Reference, SCHEMA,
    Sample, Setting,
};

const COST_US: f64 = 1800.0;
const TSC_MHZ: u32 = 2000;

/// Parts of a made-up run.
#[derive(Clone, Debug)]
pub struct Made {
    /// Values of the variable.
    pub tasks: Vec<u32>,
    /// Values of the panel's parameter.
    pub page_latency_ms: Vec<f64>,
    pub repetitions: u32,
    /// Pages read in each.
    pub pages: u32,
    /// There are histograms and single faults.
    pub details: bool,
    /// Factor by which async is slower than it should be.
    pub slower: f64,
    pub seed: u64,
}

/// A whole `overlap`.
pub fn overlap(seed: u64) -> Document {
    let tasks = (0..8).map(|power| 1 << power).collect();
    let page_latency_ms = vec![1.0, 10.0, 50.0];
    Made { tasks, page_latency_ms, repetitions: 5, pages: 512, details: true, slower: 1.0, seed }.document()
}

/// A sound document as a report.
pub fn report(document: Document) -> Report {
    Report::new(document).unwrap_or_else(|error| panic!("{}: {}", error.field, error.reason))
}

/// A small one.
pub fn small() -> Made {
    let (tasks, page_latency_ms) = (vec![1, 32], vec![10.0]);
    Made { tasks, page_latency_ms, repetitions: 3, pages: 64, details: true, slower: 1.0, seed: 1 }
}

impl Made {
    /// Makes it up.
    pub fn document(&self) -> Document {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut samples = Vec::new();
        for &latency in &self.page_latency_ms {
            for &tasks in &self.tasks {
                for repetition in 0..self.repetitions {
                    for mode in [Mode::Async, Mode::Blocked, Mode::Halt] {
                        samples.push(self.sample(mode, tasks, latency, repetition, &mut rng));
                    }
                }
            }
        }
        let pages = f64::from(self.pages);
        let reference = |label: &str, of: &dyn Fn(f64, f64) -> f64| Reference {
            metric: "seconds".into(),
            label: label.into(),
            points: self.points().map(|(t, l)| (self.parameters(t, l), of(f64::from(t), l))).collect(),
        };
        Document {
            schema: SCHEMA,
            experiment: experiment(),
            setting: setting(self.seed),
            samples,
            boots: vec![Boot {
                compared_pages: 4096,
                most_waiting: 64,
                most_outstanding: 64,
                wrong_pages: 0,
            }],
            references: vec![
                reference("ideal: P·L / min(T, 64)", &|t, l| pages * l / 1000.0 / t.min(64.0)),
                reference("attainable: max(ideal, P·c)", &|t, l| {
                    (pages * l / 1000.0 / t.min(64.0)).max(pages * COST_US / 1e6)
                }),
            ],
            claims: vec![
                Claim {
                    text: "64 tasks reach at least 80 % of what is attainable".into(),
                    measured: "93 % at 10 ms (91 to 95), made up".into(),
                    holds: true,
                },
                Claim {
                    text: "one task is no more than 10 % slower than blocked".into(),
                    measured: "14 % slower at 1 ms (9 to 18), made up".into(),
                    holds: false,
                },
            ],
        }
    }

    fn points(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.page_latency_ms.iter().flat_map(|&l| self.tasks.iter().map(move |&t| (t, l)))
    }

    fn parameters(&self, tasks: u32, latency: f64) -> BTreeMap<String, f64> {
        let pages = self.pages.into();
        [("tasks".into(), tasks.into()), ("page_latency_ms".into(), latency), ("pages".into(), pages)].into()
    }

    fn sample(
        &self,
        mode: Mode,
        tasks: u32,
        latency: f64,
        repetition: u32,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Sample {
        let pages = f64::from(self.pages);
        let mut noise = || 1.0 + rng.random_range(0.0..0.08);
        let alone = pages * (latency / 1000.0 + COST_US / 1e6);
        let together = (pages * latency / 1000.0 / f64::from(tasks.min(64))).max(pages * COST_US / 1e6);
        let seconds = match mode {
            Mode::Blocked | Mode::LinuxBlocked => alone * 1.02,
            Mode::Halt => alone,
            Mode::Async | Mode::LinuxAsync => together * 1.05 * self.slower,
        } * noise();
        let kept = match mode {
            Mode::Async => 60.0 * (1.0 - pages * COST_US / 1e6 / seconds).clamp(0.02, 1.0) * noise(),
            _ => 0.1 * noise(),
        };
        let us = latency * 1000.0 * noise();
        let recorded = self.details
            && repetition == 0
            && tasks == *self.tasks.last().unwrap_or(&1)
            && mode == Mode::Async;
        Sample {
            repetition,
            metrics: [("seconds".into(), seconds), ("computing_kept_percent".into(), kept)].into(),
            counts: [
                ("not_present".into(), self.pages.into()),
                ("host_not_present".into(), self.pages.into()),
            ]
            .into(),
            histograms: if self.details { self.histograms(mode, us, f64::from(tasks), rng) } else { vec![] },
            faults: if recorded { self.faults(tasks, us, rng) } else { vec![] },
            ..Sample::new(mode, self.parameters(tasks, latency))
        }
    }
}

fn experiment() -> Experiment {
    let parameter = |name: &str, label: &str| Parameter { name: name.into(), label: label.into() };
    let metric = |name: &str, label: &str, better| Metric { name: name.into(), label: label.into(), better };
    Experiment {
        name: "overlap".into(),
        question: "How long do T tasks take to read P evicted pages?".into(),
        variable: parameter("tasks", "tasks that read"),
        panel: Some(parameter("page_latency_ms", "page latency in ms")),
        baseline: Mode::Blocked,
        falsified_by: "async as slow as blocked with 32 tasks".into(),
        metrics: vec![
            metric("seconds", "time to read all pages in s", Better::Lower),
            metric("computing_kept_percent", "computing kept in %", Better::Higher),
        ],
    }
}

fn setting(seed: u64) -> Setting {
    Setting {
        host: "lab".into(),
        exact: false,
        processor: "made up for tests".into(),
        host_kernel: "6.1.0".into(),
        vmm: "uhyve".into(),
        vmm_version: "uhyve 0.10.0".into(),
        guest_kernel: "hermit 0.11.0".into(),
        cores: 1,
        memory_mib: 256,
        tsc_mhz: TSC_MHZ,
        page_latency: "20ms".into(),
        evict: "all".into(),
        seed,
        git_revision: Some("0000000000000000000000000000000000000000".into()),
        git_modified: false,
        command: "made up for tests, not measured".into(),
        began: "2026-01-01T00:00:00Z".into(),
    }
}

/// In the guest's buckets: no wider than 1/32.
fn buckets(values: impl Iterator<Item = f64>) -> Vec<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for us in values {
        let cycles = (us.max(0.0) * f64::from(TSC_MHZ)) as u64;
        let shift = (63 - cycles.max(32).leading_zeros()) - 5;
        *counts.entry(cycles >> shift << shift).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

impl Made {
    fn histograms(&self, mode: Mode, us: f64, tasks: f64, rng: &mut Xoshiro256PlusPlus) -> Vec<Histogram> {
        let mut spread = |around: f64| -> Vec<f64> {
            (0..self.pages).map(|_| around * (1.0 + rng.random_range(0.0f64..1.0).powi(8) * 3.0)).collect()
        };
        let histogram = |name: String, values: &[f64]| Histogram {
            name,
            per_us: TSC_MHZ.into(),
            buckets: buckets(values.iter().copied()),
        };
        let read = spread(match mode {
            Mode::Async => us.max(tasks.min(64.0) * COST_US) + COST_US,
            _ => us + COST_US,
        });
        let mut all = vec![histogram("read".into(), &read)];
        let wait = match mode {
            Mode::Blocked | Mode::LinuxBlocked | Mode::LinuxAsync => return all,
            Mode::Halt => "halt",
            Mode::Async => "schedule",
        };
        let stages = [
            ("fault→parked", spread(8.0)),
            ("host", spread(us)),
            ("ready→service", spread(120.0)),
            ("ready→running", spread(120.0 + 40.0 * tasks)),
            ("total", spread(us + 120.0 + 40.0 * tasks)),
        ];
        all.extend(stages.iter().map(|(stage, values)| histogram(format!("{wait} {stage}"), values)));
        all
    }

    fn faults(&self, tasks: u32, us: f64, rng: &mut Xoshiro256PlusPlus) -> Vec<Fault> {
        let cycles = |us: f64| (us * f64::from(TSC_MHZ)) as u64;
        let mut free = vec![0.0f64; tasks as usize];
        let mut faults = Vec::new();
        // One core serves one fault after the other, the first task that is free.
        let mut core = 0.0f64;
        for token in 0..self.pages {
            let next = free.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("a task");
            let fault = core.max(*next);
            core = fault + COST_US * 0.6;
            let ready = fault + us * (1.0 + rng.random_range(0.0..0.2));
            let released = ready + 60.0;
            let running = released + COST_US * 0.4 + rng.random_range(0.0..300.0);
            *next = running;
            faults.push(Fault {
                core: 0,
                token: token << 12,
                rip: 0x40_1000 + u64::from(token % 7),
                halt: token % 50 == 49,
                fault: cycles(fault),
                parked: cycles(fault + 8.0),
                ready: cycles(ready),
                released: cycles(released),
                running: cycles(running),
            });
        }
        faults.sort_by_key(|fault| fault.fault);
        faults
    }
}
