//! Document of a program's run, and the same for a person.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use apf_vocabulary::pager::Stats;
use serde::Serialize;

use crate::drive::spec::{Counted, Ended, HostCounts, Outcome, Spec};
use crate::output::{self, Earlier};
use crate::probe::Verdict;

/// Name of the document's file.
pub const FILE: &str = "report.json";

/// Version of the document's layout.
const SCHEMA: u32 = 1;

/// The document.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    /// "app".
    experiment: &'static str,
    /// The program's file and its arguments.
    app: String,
    arguments: Vec<String>,
    vmm: &'static str,
    /// "native" or "lab".
    host: &'static str,
    cores: u32,
    memory_mib: u32,
    page_latency: String,
    evict: String,
    /// Null if nothing was evicted.
    evict_after_ms: Option<u128>,
    seed: u64,
    /// Null if the end of its client ended it.
    exit_code: Option<u8>,
    /// Null if it has no client.
    client_exit_code: Option<u8>,
    elapsed_ms: u128,
    /// The host's counts; null where its tracing is not accessible.
    host_trace: Option<HostCounts>,
    host_trace_unavailable: Option<String>,
    /// Pages that came in without the guest being told: `pager.served_pages` less
    /// `host_trace.not_present`. Null without the host's counts.
    untold: Option<u64>,
    /// Counts of the pager, a tenth of a second before the end at most.
    pager: Stats,
}

fn untold(host: Option<&HostCounts>, pager: &Stats) -> Option<u64> {
    host.map(|host| pager.served_pages.saturating_sub(host.not_present))
}

impl Report {
    /// Draws up the document; `None` if the outcome is of no program.
    pub fn new(spec: &Spec, verdict: &Verdict, outcome: Outcome) -> Option<Self> {
        let Ended { exit_code, client_exit_code, elapsed, counts: Counted { host, pager }, .. } =
            outcome.app?;
        let evict_after = spec.app.as_ref().and_then(|app| app.evict_after);
        Some(Self {
            schema: SCHEMA,
            experiment: "app",
            app: spec.image.display().to_string(),
            arguments: spec.guest_args.clone(),
            vmm: spec.vmm.name(),
            host: verdict.name(),
            cores: spec.cores,
            memory_mib: spec.memory_mib,
            page_latency: spec.page_latency.to_string(),
            evict: spec.evict.to_string(),
            evict_after_ms: evict_after.map(|time| time.as_millis()),
            seed: spec.seed,
            exit_code,
            client_exit_code,
            elapsed_ms: elapsed.as_millis(),
            host_trace: host,
            host_trace_unavailable: outcome.host_trace_unavailable,
            untold: untold(host.as_ref(), &pager),
            pager,
        })
    }

    /// The client's exit code if that is a failure, or else the program's.
    pub fn exit_code(&self) -> u8 {
        let failure = self.client_exit_code.filter(|&code| code != 0);
        failure.or(self.exit_code).unwrap_or(0)
    }

    /// Writes the document into `folder`, in one piece.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("plain data")? + "\n";
        output::write(folder, &[(FILE.to_owned(), text.into_bytes())], Earlier::Keep).map(drop)
    }

    /// A line for each kind of count.
    pub fn text(&self) -> String {
        let seconds = Duration::from_millis(u64::try_from(self.elapsed_ms).unwrap_or(u64::MAX)).as_secs_f64();
        let end = match (self.exit_code, self.client_exit_code) {
            (Some(code), None) => format!("exit code {code}"),
            (Some(code), Some(client)) => format!("exit code {code}, its client's {client},"),
            (None, client) => format!("ended by its client, exit code {},", client.unwrap_or_default()),
        };
        let mut lines = vec![format!(
            "{end} after {seconds:.1} s, under {}, {} host, {} core(s)",
            self.vmm, self.host, self.cores
        )];
        let mut add = |name: &str, text: String| lines.push(format!("  {name:<14}{text}"));
        let Stats { evictions, dropped_pages, served_pages, .. } = self.pager;
        if evictions == 0 {
            add("evicted", "nothing".into());
        } else {
            add("evicted", format!("{dropped_pages} pages in {evictions} eviction(s): {}", self.evict));
        }
        match (&self.host_trace, &self.host_trace_unavailable) {
            (Some(host), _) => {
                let HostCounts { not_present, ready, synchronous, repeated } = host;
                add(
                    "not present",
                    format!(
                        "{not_present} pages that the guest was told of; {ready} ready interrupts, one for each arming among them"
                    ),
                );
                add("repeated", format!("{repeated} second touches of a page under way stopped a core"));
                add("synchronous", format!("{synchronous} faults beyond the host's limit stopped a core"));
            }
            (None, reason) => add("host's trace", reason.clone().unwrap_or_else(|| "nothing".into())),
        }
        if let Some(untold) = self.untold {
            add("untold", format!("{untold} pages came in of which the guest was not told"));
        }
        let waited = self.pager.vcpu_page_ins;
        add(
            "core stopped",
            format!("for {waited} pages a virtual CPU's own thread waited, as with interrupts off"),
        );
        let mean = self.pager.lateness_total_us.checked_div(served_pages).unwrap_or(0);
        add(
            "pages",
            format!(
                "{served_pages} came in, each {} after its fault, {:.1} ms later in the mean, {:.1} at most",
                self.page_latency,
                mean as f64 / 1e3,
                self.pager.lateness_max_us as f64 / 1e3
            ),
        );
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untold_pages_are_those_that_came_in_beside_the_told_ones() {
        let pager = Stats { evictions: 1, served_pages: 10, vcpu_page_ins: 2, ..Stats::default() };
        let host = HostCounts { not_present: 7, ready: 8, ..HostCounts::default() };
        assert_eq!((untold(Some(&host), &pager), untold(None, &pager)), (Some(3), None));
    }
}
