//! `swap`: the service's gain with the host's own swap.

use apf_report::document::{Claim, Mode, Sample};

use super::definition::{Definition, MS_PER_PAGE, PAGES, PagedBy, fixed};
use super::statistics::{at, at_each, claim_at_each, metric};

const CLUSTER: &str = "page_cluster";

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "swap",
    question: "What does the service gain over the host's real swap, with readahead, which brings pages that \
               nobody waits for, and without?",
    variable: (CLUSTER, "vm.page-cluster: 2 to the power of it pages are read at once"),
    falsified_by: "a page that takes longer async than blocked, or faults that the guest counts and the \
                   host does not",
    metrics: &[MS_PER_PAGE, PAGES],
    parameters: &[fixed("tasks", &[16.0]), fixed(CLUSTER, &[3.0, 0.0])],
    region_mib: 8,
    memory_mib: 128,
    paged_by: PagedBy::Swap,
    claims: &[no_slower],
    ..Definition::COMMON
};

fn no_slower(samples: &[Sample]) -> Option<Claim> {
    let ratios = at_each(samples, CLUSTER, |cluster| {
        let of = |mode| Some(metric(at(samples, mode, &[(CLUSTER, cluster)]), MS_PER_PAGE.0)?.median);
        Some(of(Mode::Async)? / of(Mode::Blocked)?)
    });
    claim_at_each(
        "a page takes no longer async than blocked",
        &ratios,
        |(cluster, ratio)| format!("page-cluster {cluster}: {ratio:.2} times"),
        |(_, ratio)| *ratio <= 1.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn async_must_be_no_slower_than_blocked() {
        let of = |ms| {
            let read = |mode, ms| sample(mode, &[(CLUSTER, 3.0)], &[("ms_per_page", ms)]);
            no_slower(&[read(Mode::Blocked, 1.0), read(Mode::Async, ms)]).unwrap().holds
        };
        assert!(of(1.0) && !of(1.1));
    }
}
