//! The lab's other kernels, each with a KVM of its own.

use tests::{Xtask, number, sample};

/// Would fail if the lab could not boot this kernel, or if its KVM told the guest of other faults than it
/// counts.
fn counts_and_pages_are_right(kernel: &str, vmm: &str) {
    let name = format!("kernel-{kernel}");
    let Some(xtask) = Xtask::find(&name) else { return };
    let host = ["--host", "lab", "--lab-kernel", kernel, "--vmm", vmm, "--memory", "128MiB"];
    let work = ["--region-mib", "8", "--pages", "128", "--page-latency", "2ms"];
    let ended = xtask.run(&[&host[..], &work].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("run").expect("a document");
    let found = document["setting"]["host_kernel"].as_str().expect("a kernel");
    assert!(found.starts_with(&format!("Linux {kernel}.")), "{found}");
    let on = sample(&document, "async");
    assert!(number(on, "counts.schedule_waits") > 0.0, "{on}");
    for count in ["not_present", "ready"] {
        let of = |side: &str| number(on, &format!("counts.{side}{count}"));
        assert_eq!(of(""), of("host_"), "{count}");
    }
    assert_eq!(number(&document["boots"][0], "wrong_pages"), 0.0);
}

#[test]
fn linux_6_12_as_the_host() {
    counts_and_pages_are_right("6.12", "uhyve");
}

/// Under QEMU, since uhyve 0.10.0 does not start there (docs/lab.md).
#[test]
fn linux_7_3_as_the_host() {
    counts_and_pages_are_right("7.3", "qemu");
}
