//! Guests that move to another QEMU while they work, without being asked.

use tests::{Xtask, number, sample};

/// Checks that a guest survives its moves at random instants: it would hang, or read a wrong page, if a
/// wait were lost with its host, or a token of the old host matched.
fn survives(name: &str, cores: u32, option: &str, moves: u32, experiment: &[&str]) {
    let Some(xtask) = Xtask::find(name) else { return };
    let (number_of_moves, smp) = (moves.to_string(), cores.to_string());
    let moving = [option, &number_of_moves, "--vmm", "qemu", "--smp", &smp, "--page-latency", "5ms"];
    let one = ["--modes", "async", "--repetitions", "1", "--at", "tasks=64"];
    let ended = xtask.experiment(&[experiment, &moving, &one].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document(experiment[0]).expect("a document");
    let on = sample(&document, "async");
    assert_eq!(number(on, "counts.wrong_pages") + number(&document["boots"][0], "wrong_pages"), 0.0);
    // Each wake-all is a move that a core has noticed; the one of arming came before the sample.
    let noticed = number(on, "counts.restored");
    assert_eq!(noticed, number(on, "counts.wake_all"));
    assert!(0.0 < noticed && noticed <= f64::from(moves * cores), "{noticed} noticed");
}

#[test]
fn a_guest_of_one_core_survives_restores_at_random_instants() {
    survives("restore", 1, "--restores", 6, &["overlap", "--quick", "--memory", "128MiB"]);
}

/// Most pages follow the guest while it reads them: each is an async page fault, which QEMU serves.
#[test]
fn a_guest_of_two_cores_survives_a_postcopy_migration() {
    survives("migrate", 2, "--migrations", 1, &["run", "--memory", "192MiB", "--at", "pages=16384"]);
}
