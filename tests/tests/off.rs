//! Where the host offers nothing, the service stays off politely.

use std::time::Duration;

use tests::Xtask;
use tests::emulated::{self, Built, boot};

/// An emulated machine without KVM: the service says why it stays off, and the
/// program goes on as it would without it.
#[test]
fn without_kvm_the_service_says_why_and_the_program_goes_on() {
    let Some(xtask) = Xtask::find("off") else { return };
    if !emulated::is_there("off") {
        return;
    }
    let built = Built::new(&xtask);
    let args = [
        "-kernel",
        built.file("loader"),
        "-initrd",
        built.file("unikernel"),
        "-append",
        "-- --region-mib 1 --pages 1",
    ];
    // The program then waits for a host that pages.
    let goes_on = "{\"event\":\"begin\",\"mode\":\"blocked\"}";
    let console = boot(&args, Some(goes_on), Duration::from_secs(60)).text;
    assert!(console.contains("\"event\":\"service_off\"") && console.contains("the hypervisor is not KVM"));
    assert!(!console.contains("async PF set up"));
    assert!(console.contains(goes_on), "the program goes on");
}
