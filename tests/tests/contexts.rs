//! The guest's own checks in real VMs: each context that a fault can interrupt, and several cores.

use tests::{Xtask, number};

/// The guest's checks of one core (`unikernel/src/contexts`). Each would fail, or hang and be named,
/// if its context were handled wrongly.
const CHECKS: [&str; 23] = [
    "application",
    "two_at_once",
    "guard",
    "kernel",
    "system_calls",
    "nested",
    "own_stack",
    "foreign_stack",
    "end_of_stack",
    "registers_schedule",
    "registers_halt",
    "registers_mixed",
    "service",
    "crowd",
    "watchdog",
    "overdue_halt",
    "late_page",
    "unknown_reason",
    "quiesce",
    "restored",
    "lost_enable",
    "lost_vector",
    "heap",
];

#[test]
fn every_interrupted_context_is_resumed_as_it_was() {
    let Some(xtask) = Xtask::find("contexts") else { return };
    let ended = xtask.check(&["contexts"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!(report["experiment"], "contexts");
    assert_eq!(number(&report, "failed"), 0.0);
    let checks = report["checks"].as_array().expect("checks");
    let names: Vec<_> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, CHECKS);
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
        let counted = if check["name"] == "unknown_reason" { "unknown_reason" } else { "not_present" };
        assert!(check["counts"][counted].as_u64() > Some(0), "no fault in {check}");
    }
    let console = xtask.console();
    assert!(console.contains("page_fault_linear_address = 0x300000000000"), "not passed on: {console}");
    assert!(console.contains("near the host's limit of outstanding faults"), "no warning: {console}");
}

/// Would fail if a guest did not stop and name a host that injects while interrupts are disabled.
#[test]
fn a_broken_host_is_named_in_the_guests_last_words() {
    let Some(xtask) = Xtask::find("contexts-interrupts-off") else { return };
    let ended = xtask.check(&["interrupts_off"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    let console = xtask.console();
    let words = "the host is broken: it injected an async page fault (token 0xf0001000) while interrupts";
    assert!(console.contains(words) && console.contains("at rip 0x"), "{console}");
}

#[test]
fn the_checks_of_contexts_are_refused_on_two_cores() {
    let Some(xtask) = Xtask::find("contexts-smp") else { return };
    let ended = xtask.check(&["contexts", "--smp", "2"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("--smp 2"), "{}", ended.text);
}

/// Would fail if an unknown name were ignored.
#[test]
fn a_check_that_does_not_exist_fails_and_others_run() {
    let Some(xtask) = Xtask::find("check-unknown") else { return };
    let ended = xtask.check(&["aplication", "guard"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!((number(&report, "passed"), number(&report, "failed")), (1.0, 1.0));
    assert!(ended.text.contains("check aplication: no check of contexts"), "{}", ended.text);
}

/// Would hang if a wake-up could arrive between a core's check of its input and its halt. Would fail
/// if a ready event on another core than its fault left the waiter halting, or to the watchdog.
#[test]
fn cores_wake_each_other_and_each_others_waiters() {
    let Some(xtask) = Xtask::find("cores") else { return };
    let ended = xtask.check(&["cores"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!((number(&report, "passed"), number(&report, "cores")), (4.0, 2.0));
    let ended = xtask.check(&["cores", "--smp", "1"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
}
