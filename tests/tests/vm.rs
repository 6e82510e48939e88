//! `cargo xtask run` in real VMs, natively or in the lab.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Xtask, family, number, sample, wait};

/// Would fail if a wake-up were lost, a page had wrong data, or guest and host counted a different
/// number of events.
#[test]
fn every_page_is_right_and_every_event_is_accounted_for() {
    let Some(xtask) = Xtask::find("accounts") else { return };
    let ended = xtask.run(&["--pages", "1024", "--page-latency", "5ms"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("run").expect("a document");
    let (on, off) = (sample(&document, "async"), sample(&document, "blocked"));
    let count = |sample, name: &str| number(sample, &format!("counts.{name}"));
    assert_eq!((count(on, "wrong_pages"), count(off, "wrong_pages")), (0.0, 0.0));
    let end = &document["boots"][0];
    assert_eq!((number(end, "compared_pages"), number(end, "wrong_pages")), (16_384.0, 0.0));
    assert!(count(on, "schedule_waits") > 0.0 && count(on, "halt_waits") > 0.0);
    assert!(count(on, "not_present") >= 1024.0);
    assert_eq!(count(on, "not_present"), count(on, "host_not_present"));
    assert_eq!(count(on, "ready"), count(on, "host_ready"));
    assert_eq!(count(on, "ready"), count(on, "not_present"));
    let seconds = |sample| number(sample, "metrics.seconds");
    assert!(seconds(off) / seconds(on) > 1.5, "{document}");
    for part in ["of 16,384 compared byte for byte", "in the host's trace", "schedule host", "times faster"] {
        assert!(ended.text.contains(part), "{part}: {}", ended.text);
    }
}

/// Would hang if a ready event were lost when they arrive as fast as possible.
#[test]
fn pages_without_latency_lose_no_wake_up() {
    let Some(xtask) = Xtask::find("zero-latency") else { return };
    let ended = xtask.run(&["--region-mib", "16", "--pages", "4096", "--page-latency", "0ms", "--seed", "7"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("run").expect("a document");
    let on = sample(&document, "async");
    assert_eq!(number(on, "counts.ready"), number(on, "counts.host_ready"));
}

/// Would fail if the service's events did not reach the console.
#[test]
fn the_service_logs_its_events_at_the_chosen_level() {
    let Some(xtask) = Xtask::find("tracing") else { return };
    let ended = xtask.run(&["--region-mib", "1", "--pages", "64", "--page-latency", "1ms", "--log", "debug"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let console = xtask.console();
    assert!(console.contains("async PF set up for core 0"), "{console}");
    assert!(console.contains("async PF unregistered for core 0"), "{console}");
    assert!(console.lines().any(|line| line.contains("DEBUG") && line.contains("host_cycles")), "{console}");
}

#[test]
fn a_guest_that_exits_early_is_reported_in_one_line() {
    let Some(xtask) = Xtask::find("guest-gives-up") else { return };
    let ended = xtask.run(&["--", "--frobnicate"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("before its work was done") && ended.text.contains("guest-console.log"));
    assert!(xtask.console().contains("frobnicate"), "the console is kept");
    assert!(xtask.document("run").is_none(), "no report of a run that failed");
}

#[test]
fn a_vmm_that_ends_early_is_reported_in_one_line() {
    let Some(xtask) = Xtask::find("vmm-ends-early") else { return };
    let ended = xtask.run(&["--vmm-arg=--help"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("before its work was done"), "{}", ended.text);
    assert!(xtask.console().contains("Usage"), "the console is kept");
}

/// uhyve waits for a debugger that never connects, so the guest prints nothing.
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
    assert!(xtask.document("run").is_none());
}

/// Would fail if Ctrl-C, before or during the work, left a process running.
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let Some(xtask) = Xtask::find("interrupted") else { return };
    for moment in ["Welcome to Hermit", "\"event\":\"sample_begins\""] {
        let child = xtask.start(&["run"], &["--region-mib", "16", "--page-latency", "100ms"]);
        let id = child.id();
        let reached = xtask.guest_says(moment, Duration::from_secs(300));
        let members = family(id);
        kill(Pid::from_raw(id.cast_signed()), Signal::SIGINT).expect("it runs");
        let output = wait(child, Duration::from_secs(30));
        assert!(reached, "the guest never printed {moment}");
        assert_eq!(output.status.code(), Some(130));
        thread::sleep(Duration::from_millis(200));
        for (id, command) in &members[1..] {
            let alive = std::fs::read_to_string(format!("/proc/{id}/cmdline"))
                .is_ok_and(|now| now.replace('\0', " ") == *command && !now.is_empty());
            assert!(!alive, "{command} is still running");
        }
        assert!(members.len() > 1, "the run had started no process");
        assert!(xtask.document("run").is_none());
    }
}
