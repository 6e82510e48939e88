//! Guests that are saved and restored while they work, each time in another QEMU.

use tests::{Xtask, number, sample};

const RESTORES: u32 = 6;

/// Checks that a guest survives restores at random instants, without being asked: it would hang, or
/// read a wrong page, if a wait were lost with its host, or a token of the old host matched.
fn survives(name: &str, cores: u32) {
    let Some(xtask) = Xtask::find(name) else { return };
    let (restores, smp) = (RESTORES.to_string(), cores.to_string());
    let ended = xtask.experiment(
        &[
            &["overlap", "--vmm", "qemu", "--smp", &smp, "--memory", "128MiB", "--restores", &restores][..],
            &[
                "--quick",
                "--modes",
                "async",
                "--repetitions",
                "1",
                "--at",
                "tasks=64",
                "--page-latency",
                "5ms",
            ],
        ]
        .concat(),
    );
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("overlap").expect("a document");
    let on = sample(&document, "async");
    assert_eq!(number(on, "counts.wrong_pages") + number(&document["boots"][0], "wrong_pages"), 0.0);
    // Each core notices each restore; the wake-all of arming came before the sample.
    let expected = f64::from(RESTORES * cores);
    assert_eq!((number(on, "counts.restored"), number(on, "counts.wake_all")), (expected, expected));
    assert!(number(on, "counts.woken") > 0.0, "no restore ended a wait: the instants were idle ones");
}

#[test]
fn a_guest_of_one_core_survives_restores_at_random_instants() {
    survives("restore-one", 1);
}

#[test]
fn a_guest_of_two_cores_survives_restores_at_random_instants() {
    survives("restore-two", 2);
}
