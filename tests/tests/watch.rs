//! `cargo xtask watch`: the host's half of a running VM, in the lab.

use std::fs;

use serde_json::Value;
use tests::{Xtask, number};

/// Starts the VM of the specification `$1`, watches it from its guest's first words to its end, and
/// prints the counts of its samples. The VMM is the driver's first child.
const WATCH: &str = r#"
"$0" drive "$1" /run/apf >/run/apf/driver.log 2>&1 & driver=$!
until grep -qs Hermit /run/apf/guest-console.log; do kill -0 $driver || exit 9; sleep 0.05; done
read -r vmm others </proc/$driver/task/$driver/children
"$0" watch $vmm --json --interval 250ms || exit 8
wait $driver || { cat /run/apf/driver.log; exit 7; }
grep -o '"host_[a-z_]*":[0-9]*' /run/apf/record.jsonl
ls /sys/kernel/tracing/instances
"#;

/// Would fail if the watch missed an event, counted those of another process, or did not notice
/// the VM's end.
#[test]
fn a_running_vm_is_watched_to_its_end() {
    let Some(xtask) = Xtask::find("watch") else { return };
    let ended = xtask.run(&["--region-mib", "4", "--pages", "512", "--page-latency", "2ms"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let spec = xtask.folder().join("run/run/spec.json");
    let (program, spec) = (xtask.program().to_str().expect("UTF-8"), spec.to_str().expect("UTF-8"));
    let ended = xtask.call(&["lab", "--", "sh", "-c", WATCH, program, spec]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let lines: Vec<Value> = ended.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let views: Vec<&Value> = lines.iter().filter(|line| line["total"].is_object()).collect();
    let (last, before) = views.split_last().expect("a look");
    assert!(before.len() > 3 && before.iter().all(|view| view["ended"] == false));
    assert_eq!(last["ended"], true);
    // Counts only grow; some look saw the VM at work.
    for name in ["not_present", "ready", "repeated", "synchronous", "page_fault_exits"] {
        let counts: Vec<f64> = views.iter().map(|view| number(view, &format!("total.{name}"))).collect();
        assert!(counts.is_sorted(), "{name}: {counts:?}");
    }
    assert!(views.iter().any(|view| number(view, "per_second.not_present") > 0.0));
    // The driver's own trace counts the two samples alone, not what the guest does between them.
    let of_samples = |name: &str| -> f64 {
        let counts = ended.text.lines().filter_map(|line| line.strip_prefix(&format!("\"host_{name}\":")));
        counts.map(|count| count.parse::<f64>().expect("a count")).sum()
    };
    for name in ["not_present", "ready"] {
        let (all, some) = (number(last, &format!("total.{name}")), of_samples(name));
        assert!(some >= 512.0 && all >= some, "{name}: {all}, in samples {some}");
    }
    assert!(number(last, "total.page_fault_exits") >= number(last, "total.not_present"));
    let cores = last["cores"].as_array().expect("virtual CPUs");
    assert_eq!((cores.len(), &cores[0]["core"]), (1, &0.into()), "{last}");
    assert_eq!(cores[0]["total"], last["total"]);
    // Neither left anything in the kernel.
    assert!(!ended.text.lines().any(|line| line.starts_with("apf-")), "{}", ended.text);
}

#[test]
fn what_cannot_be_watched_is_refused_in_one_line() {
    let Some(xtask) = Xtask::find("watch-refuses") else { return };
    let own = std::process::id().to_string();
    for (process, expected) in [("1073741824", "there is no process 1073741824"), (&*own, "is no VM")] {
        let ended = xtask.call(&["watch", process, "--json"]);
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
        assert!(ended.text.contains(expected), "{}", ended.text);
    }
    for args in [&["watch", "qemu"][..], &["watch", &own, "--interval", "1ms"]] {
        assert_eq!(xtask.call(args).code(), 2, "{args:?}");
    }
    assert!(
        fs::read_dir("/sys/kernel/tracing/instances").into_iter().flatten().all(|entry| {
            !entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("apf-"))
        })
    );
}
