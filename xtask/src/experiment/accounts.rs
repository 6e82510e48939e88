//! Checks of every document, whatever the experiment asks: the content of every page, and
//! the guest's counts compared with the host's.

use anyhow::{Result, ensure};
use apf_report::Report;
use apf_report::document::{Mode, Sample};

/// Number of failures that the error lists.
const LISTED: usize = 5;

/// Checks a document.
///
/// # Errors
/// A page had wrong content, a Hermit guest's counts differ from its host's, or a fault was lost.
pub fn check(report: &Report) -> Result<()> {
    let failures = failures(report);
    let more = failures.len().saturating_sub(LISTED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let listed = failures.iter().take(LISTED).cloned().collect::<Vec<_>>().join("; ");
    ensure!(failures.is_empty(), "the result is not right: {listed}{more}");
    Ok(())
}

fn failures(report: &Report) -> Vec<String> {
    let of_sample = |sample: &Sample| {
        let title = report.title(sample);
        of_sample(sample).into_iter().map(move |failure| format!("{title}: {failure}"))
    };
    let mut failures: Vec<String> = report.samples.iter().flat_map(of_sample).collect();
    let wrong: u64 = report.boots.iter().map(|boot| boot.wrong_pages).sum();
    if wrong > 0 {
        failures.push(format!("{wrong} pages had a wrong content at the end of the boot"));
    }
    failures
}

fn of_sample(sample: &Sample) -> Vec<String> {
    let known = |name: &str| sample.counts.get(name).copied();
    let count = |name: &str| known(name).unwrap_or(0);
    let mut failures = Vec::new();
    let mut demand = |holds: bool, failure: &dyn Fn() -> String| {
        if !holds {
            failures.push(failure());
        }
    };
    let wrong = count("wrong_pages");
    demand(wrong == 0, &|| format!("{wrong} pages had a wrong content"));
    let (not_present, ready) = (count("not_present"), count("ready"));
    match sample.mode {
        // The host's trace has faults for which it stops the core.
        Mode::Blocked | Mode::LinuxBlocked => demand(not_present == 0 && ready == 0, &|| {
            format!(
                "async page faults are off, but the guest took {not_present} and {ready} ready interrupts"
            )
        }),
        // Linux counts its ready interrupts, but not its faults.
        Mode::LinuxAsync => {
            let raised = known("host_ready").unwrap_or(ready);
            demand(0 < ready && ready <= raised, &|| {
                format!("the guest took {ready} ready interrupts, and its host raised {raised}")
            });
        }
        Mode::Halt | Mode::Async => {
            // An exception that is pending when QEMU saves a virtual CPU is saved as one that was
            // injected (`cpu_pre_save` in its target/i386/machine.c): neither host's trace has it.
            let unseen = count("restored");
            for (name, guest, host, unseen) in [
                ("not-present", not_present, known("host_not_present"), unseen),
                ("ready", ready + count("wake_all"), known("host_ready"), 0),
            ] {
                // Where tracing is not accessible there is no count.
                demand(host.is_none_or(|host| (host..=host + unseen).contains(&guest)), &|| {
                    format!("the guest counted {guest} {name}, the host {}", host.unwrap_or(0))
                });
            }
            // The parts that the counter `not_present` names in `apf-service/core/src/stats.rs`.
            let parts = [
                "schedule_waits",
                "halt_waits",
                "early_ready",
                "overflow_retries",
                "no_room_retries",
                "impossible_token",
            ];
            let waits: u64 = parts.map(count).iter().sum();
            demand(waits == not_present, &|| {
                format!("{not_present} not-present, but {waits} of them waited or retried")
            });
            let unknown = count("unknown_reason");
            demand(unknown == 0, &|| format!("{unknown} page faults with unknown reasons"));
            let served = count("host_served_pages");
            demand(not_present > 0 || served == 0, &|| {
                format!("the host delivered no async page fault, but served {served} pages")
            });
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    fn with(mode: Mode, counts: &[(&str, u64)]) -> Vec<String> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        of_sample(&Sample { counts, ..sample(mode, &[], &[]) })
    }

    const GOOD: [(&str, u64); 10] = [
        ("not_present", 9),
        ("host_not_present", 9),
        ("ready", 8),
        ("wake_all", 1),
        ("host_ready", 9),
        ("schedule_waits", 4),
        ("impossible_token", 1),
        ("halt_waits", 2),
        ("early_ready", 1),
        ("overflow_retries", 1),
    ];

    #[test]
    fn a_sample_with_equal_counts_is_right() {
        let none: [String; 0] = [];
        assert_eq!(with(Mode::Async, &GOOD), none);
        // Where tracing is not accessible.
        assert_eq!(with(Mode::Halt, &[("not_present", 2), ("ready", 2), ("halt_waits", 2)]), none);
        // Pending at a restore.
        let restored = [("restored", 1), ("host_not_present", 8)];
        assert_eq!(with(Mode::Async, &[&GOOD[..], &restored].concat()), none);
        assert_eq!(with(Mode::Blocked, &[("host_not_present", 3)]), none);
        assert_eq!(with(Mode::LinuxAsync, &[("ready", 3), ("host_ready", 4)]), none);
        assert_eq!(with(Mode::LinuxAsync, &[("ready", 3)]), none);
    }

    #[test]
    fn a_sample_with_a_count_that_differs_is_refused() {
        for (mode, name, count, named) in [
            (Mode::Async, "host_not_present", 10, "9 not-present, the host 10"),
            (Mode::Async, "host_not_present", 8, "9 not-present, the host 8"),
            (Mode::Halt, "host_ready", 8, "9 ready, the host 8"),
            (Mode::Async, "halt_waits", 1, "but 8 of them waited"),
            (Mode::Async, "unknown_reason", 2, "2 page faults with unknown"),
            (Mode::Blocked, "ready", 1, "async page faults are off"),
            (Mode::LinuxBlocked, "not_present", 0, "took 0 and 8 ready"),
            (Mode::LinuxAsync, "ready", 0, "took 0 ready interrupts, and its host raised 9"),
            (Mode::LinuxAsync, "host_ready", 7, "took 8 ready interrupts, and its host raised 7"),
            (Mode::LinuxAsync, "wrong_pages", 4, "4 pages had a wrong content"),
        ] {
            let mut counts = GOOD.to_vec();
            counts.push((name, count));
            let failures = with(mode, &counts);
            assert!(failures.len() == 1 && failures[0].contains(named), "{named}: {failures:?}");
        }
        assert!(with(Mode::Async, &[("host_served_pages", 7)])[0].contains("no async page fault"));
    }
}
