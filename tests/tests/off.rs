//! The service on a host without async page faults: it stays off.

use std::time::Duration;

use tests::Xtask;
use tests::emulated::{self, Built, boot};

/// Would fail if the service did not give the reason, or if the program did not continue
/// without it.
#[test]
fn without_kvm_the_service_gives_the_reason_and_the_program_continues() {
    let Some(xtask) = Xtask::find("off") else { return };
    if !emulated::is_there("off") {
        return;
    }
    let built = Built::new(&xtask);
    let args =
        ["-kernel", built.file("loader"), "-initrd", built.file("unikernel"), "-append", "-- --region-mib 1"];
    // The program's message before it waits for the host.
    let started = "{\"event\":\"sample_begins\",\"mode\":\"blocked\"";
    let console = boot(&args, Some(started), Duration::from_secs(60)).text;
    assert!(console.contains("\"event\":\"service_off\"") && console.contains("the hypervisor is not KVM"));
    assert!(!console.contains("async PF set up"));
    assert!(console.contains(started), "the program continues");
}
