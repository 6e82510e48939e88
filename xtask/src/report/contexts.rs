//! What the experiment `contexts` came to.

use serde::Serialize;
use unikernel::wire::Check;

use super::SCHEMA;
use crate::drive::spec::{Outcome, Spec};
use crate::probe::Verdict;
use crate::run::RunArgs;
use crate::versions::VERSIONS;

/// The document.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub schema: u32,
    pub experiment: &'static str,
    pub vmm: &'static str,
    /// "native" or "lab".
    pub host: &'static str,
    pub kernel_version: String,
    pub cores: usize,
    pub page_latency_us: u64,
    pub memory_mib: u32,
    pub seed: u64,
    pub passed: usize,
    pub failed: usize,
    pub checks: Vec<Check>,
}

impl Report {
    /// Draws up the report.
    pub fn new(args: &RunArgs, verdict: &Verdict, spec: &Spec, outcome: &Outcome) -> Self {
        let passed = outcome.checks.iter().filter(|check| check.passed).count();
        Self {
            schema: SCHEMA,
            experiment: args.experiment.name(),
            vmm: spec.vmm.name(),
            host: verdict.name(),
            kernel_version: VERSIONS.hermit.kernel.clone(),
            cores: outcome.cores,
            page_latency_us: spec.page_latency_us,
            memory_mib: spec.memory_mib,
            seed: args.seed,
            passed,
            failed: outcome.checks.len() - passed,
            checks: outcome.checks.clone(),
        }
    }

    /// A line for each check.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "Hermit {} under {}, {} host, {} core(s): faults in every context, at {} ms a page",
                self.kernel_version,
                self.vmm,
                self.host,
                self.cores,
                self.page_latency_us as f64 / 1000.0
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
        lines.join("\n")
    }

    /// The checks that failed; or that there were none.
    pub fn failures(&self) -> Vec<String> {
        if self.checks.is_empty() {
            return vec!["the guest made no check".into()];
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        failed.map(|check| format!("check {}: {}", check.name, check.detail)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        let passed = checks.iter().filter(|check| check.passed).count();
        Report {
            schema: SCHEMA,
            experiment: "contexts",
            vmm: "uhyve",
            host: "lab",
            kernel_version: "0".into(),
            cores: 1,
            page_latency_us: 3000,
            memory_mib: 256,
            seed: 1,
            passed,
            failed: checks.len() - passed,
            checks,
        }
    }

    #[test]
    fn a_failed_check_is_named_and_so_is_none_at_all() {
        let check = |name: &str, passed| Check {
            name: name.into(),
            passed,
            detail: "detail".into(),
            counts: unikernel::wire::Counters::default(),
        };
        let one_failed = report(vec![check("good", true), check("bad", false)]);
        assert_eq!(one_failed.failures(), ["check bad: detail"]);
        assert!(one_failed.text().contains("1 passed, 1 failed"));
        assert_eq!(report(vec![]).failures().len(), 1);
    }
}
