//! What an experiment of checks came to: `contexts`, `cores`.

use apf_vocabulary::Counters;
use apf_vocabulary::message::Check;
use serde::Serialize;

use super::{HostTrace, Setting};
use crate::drive::spec::{Outcome, Spec};
use crate::probe::Verdict;
use crate::run::RunArgs;

/// The document.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub setting: Setting,
    pub passed: usize,
    pub failed: usize,
    pub checks: Vec<Check>,
    /// All that the guest counted.
    pub counted: Option<Counters>,
    pub host_trace: Option<HostTrace>,
}

impl Report {
    /// Draws up the report.
    pub fn new(args: &RunArgs, verdict: &Verdict, spec: &Spec, outcome: &Outcome) -> Self {
        let passed = outcome.checks.iter().filter(|check| check.passed).count();
        Self {
            setting: Setting::of(args, verdict, spec, outcome),
            passed,
            failed: outcome.checks.len() - passed,
            checks: outcome.checks.clone(),
            counted: outcome.counted.as_ref().map(|(guest, _)| guest.clone()),
            host_trace: (outcome.counted.as_ref())
                .map(|(_, host)| HostTrace::of(*host, outcome.host_trace_unavailable.clone())),
        }
    }

    /// A line for each check.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "{}: checks of {}, at {} a page",
                self.setting, self.setting.experiment, self.setting.page_latency
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

    /// The checks that failed; or that there were none.
    pub fn failures(&self) -> Vec<String> {
        if self.checks.is_empty() {
            return vec!["the guest made no check".into()];
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        let mut failures: Vec<_> =
            failed.map(|check| format!("check {}: {}", check.name, check.detail)).collect();
        match (&self.counted, &self.host_trace) {
            (Some(guest), Some(host)) => {
                failures.extend(host.differences(guest.not_present, guest.ready + guest.wake_all))
            }
            _ => failures.push("the guest did not say what it counted".into()),
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::spec::HostCounts;

    fn report(checks: Vec<Check>) -> Report {
        let passed = checks.iter().filter(|check| check.passed).count();
        Report {
            setting: Setting::default(),
            passed,
            failed: checks.len() - passed,
            checks,
            counted: Some(Counters { not_present: 7, ready: 6, wake_all: 1, ..Counters::default() }),
            host_trace: Some(HostTrace::of(HostCounts { not_present: 7, ready: 7, synchronous: 0 }, None)),
        }
    }

    #[test]
    fn a_failed_check_is_named_and_so_is_none_at_all() {
        let check = |name: &str, passed| Check {
            name: name.into(),
            passed,
            detail: "detail".into(),
            counts: Counters::default(),
        };
        let one_failed = report(vec![check("good", true), check("bad", false)]);
        assert_eq!(one_failed.failures(), ["check bad: detail"]);
        assert!(one_failed.text().contains("1 passed, 1 failed"));
        assert_eq!(report(vec![]).failures().len(), 1);
    }

    #[test]
    fn guest_and_host_must_agree() {
        let good = || vec![Check { name: "good".into(), passed: true, ..Check::default() }];
        assert!(report(good()).failures().is_empty());
        let lost = HostCounts { not_present: 7, ready: 8, synchronous: 0 };
        let lost = Report { host_trace: Some(HostTrace::of(lost, None)), ..report(good()) };
        assert_eq!(lost.failures(), ["the guest counted 7 ready, the host 8"]);
        assert_eq!(Report { counted: None, ..report(good()) }.failures().len(), 1);
    }
}
