//! Experiments in real VMs.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{Xtask, number, samples, wait};

const FEW: [&str; 8] =
    ["overlap", "--quick", "--repetitions", "1", "--at", "tasks=1,32", "--at", "page_latency_ms=10"];

/// Would fail if a mode, a point or a count were missing, a page had wrong data, the page-in latency
/// were not applied, a wait in mode `halt` were none, or 32 tasks did not overlap their waits.
#[test]
fn an_overlap_experiment_documents_waits_that_overlap() {
    let Some(xtask) = Xtask::find("experiment") else { return };
    let packed = xtask.folder().join("machine.json");
    let ended = xtask.experiment(&[&FEW[..], &["--submit", packed.to_str().expect("UTF-8")]].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    is_packed(&xtask, &packed);
    let document = xtask.document("overlap").expect("a document");
    assert_eq!(samples(&document).len(), 3 * 2);
    let of = |mode: &str, tasks: f64| {
        samples(&document)
            .iter()
            .find(|s| s["mode"] == mode && number(s, "parameters.tasks") == tasks)
            .unwrap_or_else(|| panic!("no sample {mode} with {tasks} tasks"))
    };
    let end = &document["boots"][0];
    assert_eq!((number(end, "compared_pages"), number(end, "wrong_pages")), (4096.0, 0.0));
    for sample in samples(&document) {
        assert_eq!(number(sample, "counts.wrong_pages"), 0.0);
        assert!(number(sample, "counts.host_served_pages") >= number(sample, "metrics.pages"), "{sample}");
        assert_eq!(number(sample, "parameters.page_latency_ms"), 10.0);
    }
    for tasks in [1.0, 32.0] {
        assert!(number(of("blocked", tasks), "metrics.ms_per_page") >= 10.0);
        assert!(number(of("halt", tasks), "metrics.ms_per_page") >= 10.0);
        assert_eq!(number(of("halt", tasks), "counts.schedule_waits"), 0.0);
        assert_eq!(number(of("blocked", tasks), "counts.not_present"), 0.0);
        assert!(number(of("async", tasks), "counts.schedule_waits") > 0.0);
    }
    assert!(number(of("async", 1.0), "metrics.ms_per_page") >= 10.0);
    assert!(number(of("async", 32.0), "metrics.ms_per_page") < 5.0, "{document}");
    let histograms = of("async", 32.0)["histograms"].as_array().expect("histograms");
    assert!(histograms.iter().any(|h| h["name"] == "schedule total"), "{histograms:?}");
    for sample in samples(&document) {
        let read = sample["histograms"].as_array().and_then(|all| all.iter().find(|h| h["name"] == "read"));
        let buckets = read.and_then(|read| read["buckets"].as_array()).expect("how long each read took");
        let count: f64 = buckets.iter().filter_map(|bucket| bucket[1].as_f64()).sum();
        assert_eq!(count, number(sample, "metrics.pages"), "{sample}");
    }
    for (mode, halts) in [("halt", true), ("async", false)] {
        let sample = of(mode, 32.0);
        let faults = sample["faults"].as_array().expect("faults");
        assert!(faults.len() as f64 >= number(sample, "metrics.pages").min(1024.0), "{sample}");
        assert!(faults.iter().all(|fault| number(fault, "fault") <= number(fault, "running")), "{sample}");
        assert!(faults.iter().any(|fault| fault["halt"] == halts), "{sample}");
    }
    assert!(document["claims"].as_array().is_some_and(|claims| !claims.is_empty()));
    assert_eq!(document["references"].as_array().map(Vec::len), Some(2));
}

/// Would fail if a value were wrong, requests were not served, or values that are not local came in without a
/// fault.
#[test]
fn a_key_value_store_is_served_while_a_quarter_of_its_values_is_local() {
    let Some(xtask) = Xtask::find("experiment-serve") else { return };
    let point = ["--modes", "blocked,async", "--at", "requests_per_second=50", "--at", "scan_percent=1"];
    let ended = xtask.experiment(&[&["serve", "--quick", "--repetitions", "1"], &point[..]].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("serve").expect("a document");
    assert_eq!(samples(&document).len(), 2);
    for sample in samples(&document) {
        assert_eq!(number(sample, "counts.wrong_pages"), 0.0, "{sample}");
        assert!(number(sample, "metrics.served_per_second") > 10.0, "{sample}");
        let page_ins = number(sample, "counts.host_served_pages");
        assert!(page_ins > 20.0, "{sample}");
        let told = number(sample, "counts.not_present");
        assert!(if sample["mode"] == "async" { told > page_ins / 2.0 } else { told == 0.0 }, "{sample}");
    }
}

/// Checks the file that is to be sent in: of the lab it describes no machine, and it names no
/// folder, although the command line has some.
fn is_packed(xtask: &Xtask, file: &Path) {
    let text = fs::read_to_string(file).expect("a file to be sent in");
    let packed: Value = serde_json::from_str(&text).expect("JSON");
    let setting = &packed["documents"][0]["setting"];
    let is_real = setting["host"] == "native" && setting["processor"] == packed["machine"]["processor"];
    assert!(is_real || (setting["host"] == "lab" && packed["machine"].is_null()), "{setting}");
    assert_eq!(
        setting["command"],
        "cargo xtask experiment run … overlap --quick --repetitions 1 --at tasks=1,32 \
                                    --at page_latency_ms=10 …"
    );
    let folder = xtask.folder().to_string_lossy();
    for part in folder.split('/').filter(|part| part.len() > 5 && *part != "target" && *part != "experiment")
    {
        assert!(!text.contains(part), "{part}");
    }
    assert!(number(&packed, "faults_left_out") > 0.0 && !text.contains("\"rip\""));
}

/// Would fail if Ctrl-C lost finished samples, or kept the document of an earlier run instead.
#[test]
fn an_interrupted_experiment_keeps_its_finished_samples() {
    let Some(xtask) = Xtask::find("experiment-interrupted") else { return };
    let child = xtask.start(&["experiment", "run"], &["overlap", "--quick", "--repetitions", "50"]);
    let id = Pid::from_raw(child.id().cast_signed());
    let started = Instant::now();
    while xtask.samples_so_far("overlap") < 3 && started.elapsed() < Duration::from_secs(300) {
        thread::sleep(Duration::from_millis(100));
    }
    let finished = xtask.samples_so_far("overlap");
    kill(id, Signal::SIGINT).expect("it runs");
    let output = wait(child, Duration::from_secs(30));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    let document = xtask.document("overlap").expect("a document of what there is");
    assert!(finished >= 3 && samples(&document).len() >= finished, "{finished}: {text}");
    assert!(text.contains("finished samples are kept"), "{text}");
}

#[test]
fn an_experiment_that_cannot_be_run_is_refused_before_anything_starts() {
    let Some(xtask) = Xtask::find("experiment-refused") else { return };
    for (args, named) in [
        (vec!["overlapp"], "there is no experiment `overlapp`"),
        (vec!["overlap", "--at", "task=1"], "no such parameter"),
        (vec!["overlap", "--at", "tasks=9999"], "room for"),
        (vec!["overlap", "--page-latency", "uniform:5ms..1ms"], "the lower bound is above"),
        (vec!["overlap", "--evict", "fraction:25"], "the share `25` is not above 0 and at most 1"),
    ] {
        let ended = xtask.experiment(&args);
        assert_ne!(ended.code(), 0, "{}", ended.text);
        assert!(ended.text.contains(named), "{}", ended.text);
        assert!(xtask.document("overlap").is_none());
    }
}

/// Would fail if driver or pager ignored a share or a period: a page that was not evicted would be
/// counted, or there would be no second eviction.
#[test]
fn an_eviction_takes_its_share_and_a_periodic_one_repeats() {
    const REGION_PAGES: f64 = 4096.0;
    let Some(xtask) = Xtask::find("experiment-evictions") else { return };
    let of = |kind: &str| {
        let point = ["--at", "tasks=16", "--at", "page_latency_ms=5"];
        let ended = xtask.experiment(
            &[&["overlap", "--quick", "--repetitions", "1", "--evict", kind], &point[..]].concat(),
        );
        assert_eq!(ended.code(), 0, "{}", ended.text);
        let document = xtask.document("overlap").expect("a document");
        assert_eq!(document["setting"]["evict"], kind);
        assert_eq!(
            document["claims"].as_array().map(Vec::len),
            Some(0),
            "claims apply only to memory that is evicted completely"
        );
        document
    };
    let document = of("fraction:0.25");
    for sample in samples(&document) {
        assert_eq!(number(sample, "counts.host_evicted_pages"), REGION_PAGES / 4.0);
        assert_eq!(number(sample, "counts.host_evictions"), 1.0);
        let out = number(sample, "counts.host_served_pages") / number(sample, "metrics.pages");
        assert!(out > 0.1 && out < 0.4, "a quarter of the pages read was evicted, not {out}: {sample}");
    }
    let document = of("periodic:100ms,0.25");
    for sample in samples(&document) {
        assert!(number(sample, "counts.host_evictions") >= 2.0, "{sample}");
        assert!(number(sample, "counts.host_evicted_pages") > REGION_PAGES / 4.0, "{sample}");
    }
}

/// Would fail if nothing were swapped out, a page had wrong data, no fault were async, the guest
/// counted a fault that the host did not, or the host read ahead against its setting.
#[test]
fn the_hosts_own_swap_raises_async_faults_and_reads_ahead() {
    let Some(xtask) = Xtask::find("experiment-swap") else { return };
    let host = ["--host", "lab", "--lab-kernel", "6.12", "--page-latency", "2ms"];
    let ended = xtask.experiment(&[&["swap", "--quick", "--repetitions", "1"][..], &host].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("swap").expect("a document");
    assert_eq!(samples(&document).len(), 3 * 2);
    let count = |sample: &Value, name: &str| number(sample, &format!("counts.{name}"));
    for sample in samples(&document) {
        assert_eq!(count(sample, "wrong_pages"), 0.0);
        assert!(count(sample, "host_out_pages") >= number(sample, "metrics.pages"), "{sample}");
        // Blocked, the host counts faults for which it stops the core.
        if sample["mode"] != "blocked" {
            assert_eq!(count(sample, "not_present"), count(sample, "host_not_present"), "{sample}");
        }
    }
    // The host decides how far it reads ahead, so single samples differ.
    for (page_cluster, reads_ahead) in [(0.0, false), (3.0, true)] {
        let sum = |name| -> f64 {
            let of = |sample: &&Value| number(sample, "parameters.page_cluster") == page_cluster;
            samples(&document).iter().filter(of).map(|sample| count(sample, name)).sum()
        };
        let [read, faults] = ["host_swapped_in_pages", "host_major_faults"].map(sum);
        assert_eq!(
            read / faults > 1.03,
            reads_ahead,
            "page-cluster {page_cluster}: {read} pages, {faults} faults"
        );
    }
    // Without readahead nothing comes but what is asked for. Some pages that are out are still in the
    // host's memory, on their way to the disk, and come from there at once.
    let without =
        |sample: &&Value| number(sample, "parameters.page_cluster") == 0.0 && sample["mode"] == "async";
    let on = samples(&document).iter().find(without).expect("a sample");
    assert!(count(on, "host_major_faults") > number(on, "metrics.pages") / 2.0, "{on}");
    assert!(count(on, "not_present") > 0.9 * count(on, "host_major_faults"), "{on}");
}
