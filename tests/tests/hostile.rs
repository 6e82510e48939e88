//! A hostile host on real KVM: an unmodified VMM whose pager attacks the guest's async page faults.

use tests::{Xtask, number};

/// The attacks (`unikernel/src/contexts/attacks.rs`), and the count of the guest that shows each.
const ATTACKS: [(&str, &str); 10] = [
    ("lose", "not_present"),
    ("withhold", "overdue_halts"),
    ("reorder", "spurious_interrupts"),
    ("repeat", "ready"),
    ("invent", "ready"),
    ("flags", "unknown_reason"),
    ("hide", "unexplained_retries"),
    ("empty", "spurious_interrupts"),
    ("flood", "spurious_interrupts"),
    ("overrun", "ready"),
];

/// Would fail, or hang, if an attack made a wait endless, ended a task, damaged a page or were not reported,
/// or if it did not reach each core.
#[test]
fn no_attack_stops_the_guest_or_damages_a_page() {
    let Some(xtask) = Xtask::find("hostile") else { return };
    for cores in ["1", "2"] {
        let ended = xtask.check(&["hostile", "--smp", cores]);
        assert_eq!(ended.code(), 0, "{}", ended.text);
        let report = xtask.report().expect("a report");
        assert_eq!((number(&report, "passed"), number(&report, "failed")), (ATTACKS.len() as f64, 0.0));
        for (check, (name, counted)) in report["checks"].as_array().expect("checks").iter().zip(ATTACKS) {
            assert_eq!(check["name"], name);
            assert!(check["counts"][counted].as_u64() > Some(0), "not felt: {check}");
        }
        let console = xtask.console();
        for warning in
            ["overdue, retried", "without a valid reason, retried", "many ready interrupts without an event"]
        {
            assert!(console.contains(warning), "no {warning:?}: {console}");
        }
    }
}

/// Would fail if a #GP at the register's write ended the program.
#[test]
fn a_host_that_refuses_the_register_is_a_reason_to_stay_off() {
    let Some(xtask) = Xtask::find("hostile-refuses") else { return };
    let ended = xtask.check(&["refused"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!((number(&report, "passed"), number(&report, "failed")), (1.0, 0.0));
    assert!(ended.text.contains("refuses to turn them on"), "{}", ended.text);
    assert!(xtask.console().contains("\"event\":\"done\""), "the program runs on");
}
