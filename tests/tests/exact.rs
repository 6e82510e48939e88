//! Exact mode: one instruction is one nanosecond.

use serde_json::Value;
use tests::{Xtask, number};

const SMALL: [&str; 9] = [
    "overlap",
    "--quick",
    "--exact",
    "--repetitions",
    "1",
    "--at",
    "tasks=1,16",
    "--at",
    "page_latency_ms=1",
];

fn document(name: &str) -> Option<Value> {
    let xtask = Xtask::find(name)?;
    let ended = xtask.experiment(&SMALL);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    Some(xtask.document("overlap").expect("a document"))
}

/// Would fail if anything that the host does beside, where things lie in memory or a
/// random number changed what a run takes, or if a file came from outside while the
/// clock ran.
#[test]
fn two_exact_runs_take_the_same_time() {
    let Some(first) = document("exact-first") else { return };
    let second = document("exact-second").expect("there was one before");
    assert_eq!(first["setting"]["exact"], true);
    assert_eq!(number(&first, "setting.tsc_mhz"), 1000.0);
    let samples = |document: &Value| document["samples"].as_array().expect("samples").clone();
    let (first, second) = (samples(&first), samples(&second));
    assert_eq!((first.len(), second.len()), (3 * 2, 3 * 2));
    for (one, other) in first.iter().zip(&second) {
        let at = format!("{} {}", one["mode"], one["parameters"]);
        assert_eq!((&one["mode"], &one["parameters"]), (&other["mode"], &other["parameters"]));
        for metric in ["metrics.ms_per_page", "metrics.fault_cost_ms"] {
            let (one, other) = (number(one, metric), number(other, metric));
            assert!((one / other - 1.0).abs() < 0.01, "{at}: {metric} is {one}, then {other}");
        }
    }
}
