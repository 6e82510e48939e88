//! Real VMs, natively or in the lab, as the machine has it.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Xtask, family, number, wait};

/// Would fail if a wake-up were lost, a page came back wrong, or guest and
/// host disagreed on a single event.
#[test]
fn every_page_is_right_and_every_event_is_accounted_for() {
    let Some(xtask) = Xtask::find("accounts") else { return };
    let ended = xtask.run(&["--pages", "1024", "--page-latency", "5ms"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    for path in [
        "async.wrong_pages",
        "async.wrong_verified_pages",
        "blocked.wrong_pages",
        "blocked.wrong_verified_pages",
    ] {
        assert_eq!(number(&report, path), 0.0, "{path}");
    }
    assert!(number(&report, "async.schedule_waits") > 0.0 && number(&report, "async.halt_waits") > 0.0);
    assert!(number(&report, "async.not_present") >= 1024.0);
    assert_eq!(number(&report, "async.not_present"), number(&report, "host_trace.not_present"));
    assert_eq!(number(&report, "async.ready"), number(&report, "host_trace.ready"));
    assert_eq!(number(&report, "async.ready"), number(&report, "async.not_present"));
    assert!(number(&report, "speedup") > 1.5, "{report}");
}

/// Readies come as fast as they can; would hang if one fell between.
#[test]
fn pages_that_come_at_once_lose_no_wake_up() {
    let Some(xtask) = Xtask::find("zero-latency") else { return };
    let ended = xtask.run(&["--pages", "4096", "--page-latency", "0ms", "--seed", "7"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!(number(&report, "async.ready"), number(&report, "host_trace.ready"));
}

/// Would fail if the service's events did not reach the console.
#[test]
fn the_service_tells_what_it_does_at_the_chosen_level() {
    let Some(xtask) = Xtask::find("tracing") else { return };
    let ended = xtask.run(&["--pages", "64", "--page-latency", "1ms", "--log", "debug"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let console = xtask.console();
    assert!(console.contains("async PF set up for core 0"), "{console}");
    assert!(console.contains("async PF unregistered for core 0"), "{console}");
    assert!(console.lines().any(|line| line.contains("DEBUG") && line.contains("host_cycles")), "{console}");
}

#[test]
fn a_guest_that_gives_up_is_reported_in_one_line() {
    let Some(xtask) = Xtask::find("guest-gives-up") else { return };
    let ended = xtask.run(&["--", "--frobnicate"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("before its work was done") && ended.text.contains("guest-console.log"));
    assert!(xtask.console().contains("frobnicate"), "the console is kept");
    assert!(xtask.report().is_none(), "no report of a run that failed");
}

#[test]
fn a_vmm_that_ends_early_is_reported_in_one_line() {
    let Some(xtask) = Xtask::find("vmm-ends-early") else { return };
    let ended = xtask.run(&["--vmm-arg=--help"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("before its work was done"), "{}", ended.text);
    assert!(xtask.console().contains("Usage"), "the console is kept");
}

/// uhyve waits for a debugger that never comes, so the guest never says a word.
#[test]
fn a_guest_that_hangs_is_ended_and_reported() {
    let Some(xtask) = Xtask::find("guest-hangs") else { return };
    let ended = xtask.run(&[
        "--region-mib",
        "1",
        "--pages",
        "1",
        "--page-latency",
        "0ms",
        "--vmm-arg=--gdb-port=6677",
    ]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("the guest hangs"), "{}", ended.text);
    assert!(xtask.report().is_none());
}

/// Ctrl-C at any moment leaves nothing running.
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let Some(xtask) = Xtask::find("interrupted") else { return };
    for moment in ["Welcome to Hermit", "\"event\":\"evict\""] {
        let child = xtask.start_run(&["--page-latency", "100ms"]);
        let id = child.id();
        let reached = xtask.guest_says(moment, Duration::from_secs(300));
        let members = family(id);
        kill(Pid::from_raw(id.cast_signed()), Signal::SIGINT).expect("it runs");
        let output = wait(child, Duration::from_secs(30));
        assert!(reached, "the guest never said {moment}");
        assert_eq!(output.status.code(), Some(130));
        thread::sleep(Duration::from_millis(200));
        for (id, command) in &members[1..] {
            let alive = std::fs::read_to_string(format!("/proc/{id}/cmdline"))
                .is_ok_and(|now| now.replace('\0', " ") == *command && !now.is_empty());
            assert!(!alive, "{command} is still running");
        }
        assert!(members.len() > 1, "there was something to leave behind");
        assert!(xtask.report().is_none());
    }
}

/// A VMM that runs as another user has its sockets and files there.
#[test]
fn the_labs_folder_for_temporary_files_is_open_to_every_user() {
    let Some(xtask) = Xtask::find("lab-tmp") else { return };
    let ended = xtask.call(&["lab", "--", "stat", "--format=mode %a", "/tmp"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert!(ended.text.lines().any(|line| line.trim() == "mode 1777"), "{}", ended.text);
}
