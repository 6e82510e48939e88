//! Document of the guest's checks, and the same for a person.

use std::path::Path;

use anyhow::{Context, Result};
use apf_vocabulary::Counters;
use apf_vocabulary::message::Check;
use serde::Serialize;

use crate::drive::spec::{Host, HostCounts, Outcome, Spec};
use crate::output::{self, Earlier};
use crate::probe::Verdict;
use crate::versions::VERSIONS;

/// Name of the document's file.
pub const FILE: &str = "report.json";

/// Name of the checks on a hostile host.
const HOSTILE: &str = "hostile";

/// Version of the document's layout.
const SCHEMA: u32 = 1;

/// The document.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    schema: u32,
    /// "contexts", "cores" or "hostile".
    experiment: &'static str,
    vmm: &'static str,
    /// "native" or "lab".
    host: &'static str,
    /// True if one instruction was one nanosecond.
    exact: bool,
    kernel_version: String,
    cores: usize,
    /// As on the command line.
    page_latency: String,
    /// Its mean.
    page_latency_us: u128,
    evict: String,
    memory_mib: u32,
    seed: u64,
    passed: usize,
    failed: usize,
    checks: Vec<Check>,
    /// All that the guest counted.
    counted: Option<Counters>,
    host_trace: Option<HostTrace>,
}

/// The host's counts; null where its tracing is not accessible.
#[derive(Debug, Serialize)]
struct HostTrace {
    not_present: Option<u64>,
    ready: Option<u64>,
    /// Faults that found 64 outstanding and stopped the core.
    synchronous: Option<u64>,
    unavailable: Option<String>,
}

impl Report {
    /// Draws up the document.
    pub fn new(spec: &Spec, verdict: &Verdict, outcome: Outcome) -> Self {
        let Outcome { cores, checks, counted, host_trace_unavailable: unavailable, .. } = outcome;
        let setting = Self {
            schema: SCHEMA,
            experiment: match (spec.host, cores) {
                (Host::Honest, 1) => "contexts",
                (Host::Honest, _) => "cores",
                (Host::Attacks | Host::Refuses, _) => HOSTILE,
            },
            vmm: spec.vmm.name(),
            host: verdict.name(),
            exact: spec.exact,
            kernel_version: VERSIONS.hermit.kernel.clone(),
            cores,
            page_latency: spec.page_latency.to_string(),
            page_latency_us: spec.page_latency.mean().as_micros(),
            evict: spec.evict.to_string(),
            memory_mib: spec.memory_mib,
            seed: spec.seed,
            ..Self::default()
        };
        setting.with(checks, counted, unavailable)
    }

    fn with(
        self,
        checks: Vec<Check>,
        counted: Option<(Counters, HostCounts)>,
        unavailable: Option<String>,
    ) -> Self {
        let passed = checks.iter().filter(|check| check.passed).count();
        let (counted, host) = counted.unzip();
        let known = unavailable.is_none();
        let host_trace = host.map(|host| HostTrace {
            not_present: known.then_some(host.not_present),
            ready: known.then_some(host.ready),
            synchronous: known.then_some(host.synchronous),
            unavailable,
        });
        Self { passed, failed: checks.len() - passed, checks, counted, host_trace, ..self }
    }

    /// Writes the document into `folder`, in one piece.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("plain data")? + "\n";
        output::write(folder, &[(FILE.to_owned(), text.into_bytes())], Earlier::Keep).map(drop)
    }

    /// A line for each check.
    pub fn text(&self) -> String {
        let exact = if self.exact { " (exact)" } else { "" };
        let mut lines = vec![
            format!(
                "Hermit {} under {}, {} host{exact}, {} core(s): checks of {}, at {} a page",
                self.kernel_version, self.vmm, self.host, self.cores, self.experiment, self.page_latency
            ),
            String::new(),
            format!("  {:<20}{:<8}{:>10}{:>8}", "check", "", "schedule", "halt"),
        ];
        lines.extend(self.checks.iter().map(|check| {
            let result = if check.passed { "passed" } else { "FAILED" };
            let counts = &check.counts;
            let (schedule, halt) = (counts.schedule_waits, counts.halt_waits);
            format!("  {:<20}{result:<8}{schedule:>10}{halt:>8}   {}", check.name, check.detail)
        }));
        lines.push(String::new());
        lines.push(format!("  {} passed, {} failed", self.passed, self.failed));
        if let (Some(guest), Some(host)) = (&self.counted, &self.host_trace) {
            let known = |count: Option<u64>| count.map_or("not accessible".into(), |count| count.to_string());
            lines.push(format!(
                "  not present: {} in the guest, {} in the host's trace; ready and wake-all: {} and {}",
                guest.not_present,
                known(host.not_present),
                guest.ready + guest.wake_all,
                known(host.ready)
            ));
        }
        lines.join("\n")
    }

    /// The checks that failed, or that there were none, and counts that differ. A hostile host's own
    /// counts prove nothing.
    pub fn failures(&self) -> Vec<String> {
        if self.checks.is_empty() {
            return vec!["the guest made no check".into()];
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        let mut failures: Vec<_> =
            failed.map(|check| format!("check {}: {}", check.name, check.detail)).collect();
        let (Some(guest), Some(host)) = (&self.counted, &self.host_trace) else {
            failures.push("the guest did not say what it counted".into());
            return failures;
        };
        if self.experiment == HOSTILE {
            return failures;
        }
        for (name, guest, host) in [
            ("not-present", guest.not_present, host.not_present),
            ("ready", guest.ready + guest.wake_all, host.ready),
        ] {
            if host.is_some_and(|host| host != guest) {
                failures.push(format!("the guest counted {guest} {name}, the host {}", host.unwrap_or(0)));
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>, host_ready: u64) -> Report {
        let guest = Counters { not_present: 7, ready: 6, wake_all: 1, ..Counters::default() };
        let host = HostCounts { not_present: 7, ready: host_ready, ..HostCounts::default() };
        Report::default().with(checks, Some((guest, host)), None)
    }

    fn check(name: &str, passed: bool) -> Check {
        Check { name: name.into(), passed, detail: "detail".into(), ..Check::default() }
    }

    #[test]
    fn a_failed_check_is_named_and_so_is_none_at_all() {
        let one_failed = report(vec![check("good", true), check("bad", false)], 7);
        assert_eq!(one_failed.failures(), ["check bad: detail"]);
        assert!(one_failed.text().contains("1 passed, 1 failed"));
        assert_eq!(report(vec![], 7).failures().len(), 1);
    }

    #[test]
    fn guest_and_host_must_agree() {
        let good = || vec![check("good", true)];
        assert!(report(good(), 7).failures().is_empty());
        assert_eq!(report(good(), 8).failures(), ["the guest counted 7 ready, the host 8"]);
        assert!(Report { experiment: HOSTILE, ..report(good(), 8) }.failures().is_empty());
        assert_eq!(Report { counted: None, ..report(good(), 7) }.failures().len(), 1);
    }
}
