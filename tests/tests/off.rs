//! Where the host offers nothing, the service stays off politely.

use std::process::{Command, Stdio};
use std::time::Duration;

use tests::{Xtask, wait};

/// An emulated machine without KVM: the service says why it stays off, and the
/// program goes on as it would without it.
#[test]
fn without_kvm_the_service_says_why_and_the_program_goes_on() {
    let Some(xtask) = Xtask::find("off") else { return };
    if Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: qemu-system-x86_64 is not installed");
        return;
    }
    let built = xtask.call(&["build"]);
    assert_eq!(built.code(), 0, "{}", built.text);
    let product = |name: &str| {
        let line = built.text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", built.text)).trim().to_owned()
    };
    let qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", "max", "-m", "256M", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-kernel", &product("loader"), "-initrd", &product("unikernel")])
        .args(["-append", "-- --region-mib 1 --pages 1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    // The program ends by waiting for a host that pages; that is time enough.
    let output = wait(qemu, Duration::from_secs(20));
    let console = String::from_utf8_lossy(&output.stdout);
    println!("{console}");
    assert!(console.contains("\"event\":\"service_off\"") && console.contains("the hypervisor is not KVM"));
    assert!(!console.contains("async PF set up"));
    assert!(console.contains("{\"event\":\"begin\",\"mode\":\"blocked\"}"), "the program goes on");
}
