//! Every context that a fault can interrupt, in a real VM.

use tests::{Xtask, number};

/// Each of these is a check of the guest's own (`unikernel/src/contexts`), and
/// would fail, or hang and be named, if its context were handled wrongly.
const CHECKS: [&str; 14] = [
    "application",
    "two_at_once",
    "guard",
    "kernel",
    "nested",
    "own_stack",
    "foreign_stack",
    "registers_schedule",
    "registers_halt",
    "registers_mixed",
    "service",
    "crowd",
    "watchdog",
    "quiesce",
];

#[test]
fn every_interrupted_context_is_resumed_as_it_was() {
    let Some(xtask) = Xtask::find("contexts") else { return };
    let ended = xtask.run(&["contexts"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!(report["experiment"], "contexts");
    assert_eq!(number(&report, "failed"), 0.0);
    let checks = report["checks"].as_array().expect("checks");
    let names: Vec<_> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, CHECKS);
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
        assert!(check["counts"]["not_present"].as_u64() > Some(0), "no fault in {check}");
    }
}

/// A host that injects while interrupts are disabled: the guest stops and names it.
#[test]
fn a_broken_host_is_named_in_the_guests_last_words() {
    let Some(xtask) = Xtask::find("contexts-interrupts-off") else { return };
    let ended = xtask.run(&["contexts", "--", "--check", "interrupts_off"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    let console = xtask.console();
    let words = "the host is broken: it injected an async page fault (token 0x0) while interrupts";
    assert!(console.contains(words) && console.contains("at rip 0x"), "{console}");
}

/// A reason that the protocol does not know: an ordinary page fault for the kernel.
#[test]
fn an_unknown_reason_is_the_kernels_own_page_fault() {
    let Some(xtask) = Xtask::find("contexts-unknown-reason") else { return };
    let ended = xtask.run(&["contexts", "--", "--check", "unknown_reason"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    let console = xtask.console();
    assert!(console.contains("Page Fault (#PF)") && console.contains("0x300000000000"), "{console}");
    assert!(!console.contains("the host is broken"), "{console}");
}

#[test]
fn contexts_are_judged_on_one_core() {
    let Some(xtask) = Xtask::find("contexts-smp") else { return };
    let ended = xtask.run(&["contexts", "--smp", "2"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("--smp 2"), "{}", ended.text);
}
