//! Exact mode, in which one instruction takes one nanosecond.

use serde_json::Value;
use tests::{Xtask, number, sample, samples};

/// One sample with all parts of the service, and one with none.
const SMALL: [&str; 11] = [
    "overlap",
    "--quick",
    "--exact",
    "--repetitions",
    "1",
    "--modes",
    "blocked,async",
    "--at",
    "tasks=16",
    "--at",
    "page_latency_ms=5",
];

fn document(name: &str) -> Option<Value> {
    let xtask = Xtask::find(name)?;
    let ended = xtask.experiment(&SMALL);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    Some(xtask.document("overlap").expect("a document"))
}

/// Returns the time at which the lab's Linux reads its list of timers, in nanoseconds since
/// its start.
fn nanoseconds(xtask: &Xtask) -> u64 {
    let ended = xtask.call(&["lab", "--exact", "--", "/bin/cat", "/proc/timer_list"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let line = ended.text.lines().find_map(|line| line.strip_prefix("now at ")?.split(' ').next());
    line.expect("the time").parse().expect("a number")
}

/// Would fail if the host's load, an address in memory or a random number changed the time of
/// booting by more than a ten-thousandth. It is not exactly the same: a difference of 3 µs of
/// 2.7 s has been seen.
#[test]
fn the_exact_lab_starts_its_command_at_the_same_time_in_each_boot() {
    let Some(xtask) = Xtask::find("exact-lab") else { return };
    let (first, second) = (nanoseconds(&xtask), nanoseconds(&xtask));
    assert!(first > 100_000_000, "{first}");
    assert!(first.abs_diff(second) < first / 10_000, "{first} and {second} ns");
}

/// Would fail if the lab read a file of the host while its clock ran, or if host, VMM, pager
/// or guest behaved differently in the two runs.
#[test]
fn two_exact_runs_take_the_same_time() {
    let Some(first) = document("exact-first") else { return };
    let second = document("exact-second").expect("the first run found the program");
    assert_eq!(first["setting"]["exact"], true);
    // The guest rounds its measurement down.
    assert!((999.0..=1000.0).contains(&number(&first, "setting.tsc_mhz")));
    let (first, second) = (samples(&first), samples(&second));
    assert_eq!((first.len(), second.len()), (2, 2));
    for (one, other) in first.iter().zip(second) {
        let at = format!("{} {}", one["mode"], one["parameters"]);
        assert_eq!((&one["mode"], &one["parameters"]), (&other["mode"], &other["parameters"]));
        for metric in ["metrics.ms_per_page", "metrics.fault_cost_ms"] {
            let (one, other) = (number(one, metric), number(other, metric));
            assert!((one / other - 1.0).abs() < 0.01, "{at}: {metric} is {one}, then {other}");
        }
    }
}

/// Would fail if a change made a fault cost the guest over 3 % more or fewer instructions, and
/// did not update these figures (and `docs/results/performance.md`).
#[test]
fn a_fault_costs_the_guest_as_many_instructions_as_it_did() {
    const FIGURES: [(&str, f64); 2] = [("async", 1636.0), ("halt", 649.0)];
    let Some(xtask) = Xtask::find("exact-cost") else { return };
    let few = [
        "--modes",
        "blocked,halt,async",
        "--repetitions",
        "1",
        "--at",
        "pages=1024",
        "--at",
        "page_latency_ms=0.1",
    ];
    let ended = xtask.experiment(&[&["cost", "--quick", "--exact"], &few[..]].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("cost").expect("a document");
    assert_eq!(samples(&document).len(), FIGURES.len() + 1);
    for (mode, was) in FIGURES {
        let is = number(sample(&document, mode), "metrics.guest");
        assert!((is / was - 1.0).abs() < 0.03, "{mode}: {is} instructions instead of {was}");
    }
    let claims = document["claims"].as_array().expect("claims");
    assert!(claims.iter().all(|claim| claim["holds"] == true), "{claims:?}");
}
