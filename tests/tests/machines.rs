//! Machines as other tools configure them: Hyper-V flags, RAM in several pieces, locked RAM.

use tests::{Xtask, number, sample};

/// Puts `--vmm-arg=` before each word.
fn qemu(words: &str) -> Vec<String> {
    let words = words.split_whitespace().map(|word| format!("--vmm-arg={word}"));
    ["--vmm=qemu", "--pages=256", "--region-mib=2", "--page-latency=2ms"]
        .map(str::to_owned)
        .into_iter()
        .chain(words)
        .collect()
}

fn run(xtask: &Xtask, words: &str) -> tests::Ended {
    let args = qemu(words);
    xtask.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The flags move KVM's CPUID leaves up, as libvirt and Proxmox do; two NUMA nodes are two mappings.
/// Would fail if KVM were not found there, or if one of the pieces were not paged.
#[test]
fn hyper_v_flags_and_two_numa_nodes_change_nothing() {
    let Some(xtask) = Xtask::find("machines") else { return };
    let ended = run(
        &xtask,
        "-cpu host,hv_relaxed -object memory-backend-ram,id=a,size=128M -object \
         memory-backend-ram,id=b,size=128M -numa node,memdev=a -numa node,memdev=b",
    );
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("run").expect("a document");
    let on = sample(&document, "async");
    let count = |name: &str| number(on, &format!("counts.{name}"));
    assert!(count("not_present") >= 256.0, "{document}");
    assert_eq!(count("not_present"), count("host_not_present"));
    assert_eq!(count("ready"), count("host_ready"));
    let end = &document["boots"][0];
    assert_eq!((number(end, "compared_pages"), number(end, "wrong_pages")), (512.0, 0.0));
}

/// Would fail if a run passed although nothing of the RAM can be evicted.
#[test]
fn locked_ram_is_refused_and_named() {
    let Some(xtask) = Xtask::find("machines-locked") else { return };
    let ended = run(&xtask, "-overcommit mem-lock=on");
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("it is locked (QEMU: -overcommit mem-lock=on)"), "{}", ended.text);
    assert!(xtask.document("run").is_none());
}
