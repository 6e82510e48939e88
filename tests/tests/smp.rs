//! `cargo xtask run` with several cores, under both VMMs.

use tests::{Xtask, number, sample};

/// Checks that each core is armed and every fault of every core is counted. Would fail, or hang, if a
/// wake-up between cores were lost, or a core were left out.
fn every_core_is_served(name: &str, vmm: &str, cores: u32) {
    let Some(xtask) = Xtask::find(name) else { return };
    let smp = cores.to_string();
    let work = ["--region-mib", "8", "--pages", "1024", "--page-latency", "5ms"];
    let ended = xtask.run(&[&["--vmm", vmm, "--smp", &smp][..], &work].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("run").expect("a document");
    assert_eq!(number(&document, "setting.cores"), f64::from(cores));
    let on = sample(&document, "async");
    assert_eq!(number(on, "parameters.tasks"), f64::from(64 * cores), "64 for each core");
    assert_eq!(number(on, "counts.wrong_pages") + number(&document["boots"][0], "wrong_pages"), 0.0);
    for count in ["not_present", "ready"] {
        let of = |side: &str| number(on, &format!("counts.{side}{count}"));
        assert_eq!(of(""), of("host_"), "{count}");
    }
    let console = xtask.console();
    for core in 0..cores {
        assert!(console.contains(&format!("async PF set up for core {core}")), "{console}");
        assert!(console.contains(&format!("async PF unregistered for core {core}")), "{console}");
        // The kernel's own count at its end. The cores' tasks take pages from one queue, so a core whose
        // emulated processor is slow serves fewer; each serves more than its wake-alls.
        let count = console.lines().find_map(|line| line.strip_prefix(&format!("[{core}][async PF]: ")));
        let interrupts: Option<usize> = count.and_then(|count| count.trim().parse().ok());
        let wake_all = format!("wake all core={core} ");
        let wake_alls = console.lines().filter(|line| line.contains(&wake_all)).count();
        assert!(
            interrupts > Some(wake_alls),
            "core {core}: {interrupts:?}, wake-alls: {wake_alls}\n{console}"
        );
    }
}

#[test]
fn two_cores_under_uhyve() {
    every_core_is_served("smp-uhyve", "uhyve", 2);
}

#[test]
fn two_cores_under_qemu() {
    every_core_is_served("smp-qemu", "qemu", 2);
}
