//! `swap`: what is left of the service's gain over the host's real swap?

use apf_report::document::{Claim, Mode, Sample};
use apf_vocabulary::grid::Axis;

use super::catalogue::{Definition, Effort, MS_PER_PAGE, PAGES, PagedBy};
use super::statistics::{at, metric, values_of};

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "swap",
    question: "What does the service gain over the host's real swap, whose readahead brings pages that \
               nobody waits for, and which reads some pages synchronously?",
    variable: ("page_cluster", "vm.page-cluster: 2 to the power of it pages are read at once"),
    panel: None,
    baseline: Mode::Blocked,
    falsified_by: "a page that takes longer async than blocked, or faults that the guest counts and the \
                   host does not",
    metrics: &[MS_PER_PAGE, PAGES],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async],
    profiled: false,
    axes,
    region_mib: 8,
    memory_mib: 128,
    paged_by: PagedBy::Swap,
    references: |_, _| vec![],
    claims,
};

fn axes(_: Effort) -> Vec<Axis> {
    vec![Axis::new("tasks", &[16.0]), Axis::new("page_cluster", &[3.0, 0.0])]
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    [counts_agree(samples), no_slower(samples)].into_iter().flatten().collect()
}

/// Where the service is on, and the host's tracing is accessible. While the service is being turned
/// off its own code may be out, which only the host counts: it may count more, not less.
fn counts_agree(samples: &[Sample]) -> Option<Claim> {
    let count = |sample: &Sample, name: &str| sample.counts.get(name).copied();
    let pairs: Vec<(u64, u64)> = samples
        .iter()
        .filter(|sample| sample.mode != Mode::Blocked)
        .filter_map(|sample| Some((count(sample, "not_present")?, count(sample, "host_not_present")?)))
        .collect();
    let most = pairs.iter().map(|(guest, host)| host.saturating_sub(*guest)).max()?;
    let (guest, host) = pairs.iter().fold((0, 0), |(a, b), (guest, host)| (a + guest, b + host));
    Some(Claim {
        text: "each async page fault that the guest counts is one of the host's trace, in each sample".into(),
        measured: format!(
            "{guest} in the guest, {host} in the host's trace, which has at most {most} more in a sample"
        ),
        holds: pairs.iter().all(|(guest, host)| guest <= host),
    })
}

fn no_slower(samples: &[Sample]) -> Option<Claim> {
    let ratios: Vec<(f64, f64)> = values_of(samples, "page_cluster")
        .into_iter()
        .filter_map(|cluster| {
            let point = [("page_cluster", cluster)];
            let of = |mode| metric(at(samples, mode, &point), MS_PER_PAGE.0);
            Some((cluster, of(Mode::Async)?.median() / of(Mode::Blocked)?.median()))
        })
        .collect();
    let each = ratios.iter().map(|(cluster, ratio)| format!("page-cluster {cluster}: {ratio:.2} times"));
    (!ratios.is_empty()).then(|| Claim {
        text: "a page takes no longer async than blocked".into(),
        measured: each.collect::<Vec<_>>().join(", "),
        holds: ratios.iter().all(|(_, ratio)| *ratio <= 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn read(mode: Mode, ms: f64, guest: u64, host: u64) -> Sample {
        let mut sample = sample(mode, &[("page_cluster", 3.0)], &[("ms_per_page", ms)]);
        sample.counts = [("not_present".into(), guest), ("host_not_present".into(), host)].into();
        sample
    }

    #[test]
    fn claims_hold_or_not_by_the_figures() {
        let of = |ms, host| {
            // Blocked, the host has faults that no guest counts.
            let samples = [read(Mode::Blocked, 1.0, 0, 7), read(Mode::Async, ms, 90, host)];
            claims(&samples, 1).iter().map(|claim| claim.holds).collect::<Vec<_>>()
        };
        assert_eq!(of(1.0, 90), [true, true]);
        assert_eq!(of(1.1, 91), [true, false], "turning it off may cost faults");
        assert_eq!(of(1.0, 89), [false, true]);
    }
}
