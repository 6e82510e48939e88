//! `cargo xtask run --app`: any Hermit program.

use tests::{Xtask, number};

/// This project's own program, which `--alone` keeps from asking the host for anything.
const UNIKERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/apf/app/unikernel");

fn run(xtask: &Xtask, options: &[&str], arguments: &[&str]) -> tests::Ended {
    // An old one would be run as it is.
    assert_eq!(xtask.call(&["build"]).code(), 0);
    xtask.run(&[&["--app", UNIKERNEL], options, &["--"], arguments].concat())
}

/// Would fail if memory was not evicted, pages were lost, or faults were not counted where the guest
/// is told of them.
#[test]
fn a_program_that_asks_for_nothing_is_run_with_its_memory_evicted() {
    let Some(xtask) = Xtask::find("app") else { return };
    let ended = run(&xtask, &["--evict-after", "4s"], &["--alone", "8"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert!(ended.text.contains("the service runs"), "its console is not shown: {}", ended.text);
    assert!(ended.text.contains(" pages read, 0 wrong"), "{}", ended.text);
    assert!(xtask.console().contains("the service runs"));
    let report = xtask.report().expect("a report");
    assert_eq!((report["experiment"].as_str(), number(&report, "exit_code")), (Some("app"), 0.0));
    assert_eq!(number(&report, "pager.evictions"), 1.0);
    let told = number(&report, "host_trace.not_present");
    assert!(told >= 512.0, "the guest was told of {told} pages");
    assert!(number(&report, "untold") > 0.0, "the kernel touched no evicted page with interrupts off");
    assert!(number(&report, "pager.served_pages") >= told);
}

#[test]
fn a_program_is_run_under_qemu_and_its_failure_returned() {
    let Some(xtask) = Xtask::find("app-qemu") else { return };
    let ended = run(&xtask, &["--vmm", "qemu", "--net"], &["--no-such-option"]);
    assert_eq!(ended.code(), 1, "{}", ended.text);
    assert!(ended.text.contains("unexpected argument '--no-such-option'"), "{}", ended.text);
    assert!(ended.text.contains("exit code 1 after"), "{}", ended.text);
    let report = xtask.report().expect("a report");
    assert_eq!((number(&report, "pager.evictions"), number(&report, "pager.served_pages")), (0.0, 0.0));
}

#[test]
fn a_program_that_cannot_be_run_is_refused_in_one_line() {
    let Some(xtask) = Xtask::find("app-refused") else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let forward = format!("{}:80", taken.local_addr().expect("it listens").port());
    let no_elf = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let linux = std::env::current_exe().expect("this program");
    let linux = linux.to_str().expect("a UTF-8 path");
    for (args, word) in [
        (&["--app", "/no/such/file"][..], "cannot read the application /no/such/file"),
        (&["--app", no_elf], "no application for Hermit's loader"),
        (&["--app", linux], "no application for Hermit's loader"),
        (&["--app", UNIKERNEL, "--net", "--vmm", "uhyve"], "uhyve has no network"),
        (&["--app", UNIKERNEL, "--net", "--forward", &forward], "of this machine cannot be taken"),
        (&["--app", UNIKERNEL, "--net=tap", "--forward", &forward], "--forward needs --net=user"),
    ] {
        let ended = xtask.run(args);
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{args:?}: {}", ended.text);
        assert!(ended.text.contains(word), "{args:?}: {}", ended.text);
    }
    for args in [
        &["--forward", "8080:80"][..],
        &["--evict-after", "1s"],
        &["--client", "true"],
        &["--app", UNIKERNEL, "--client-at", "ready"],
        &["--app", UNIKERNEL, "--net=bridge"],
        &["--app", UNIKERNEL, "--tasks", "3"],
    ] {
        assert_eq!(xtask.run(args).code(), 2, "{args:?}");
    }
}
