//! Hermit and Linux side by side in real VMs.

use tests::{Xtask, number, sample, samples};

/// Would fail if a guest did not boot, if Linux had no async page faults, or had them with
/// `no-kvmapf`, if a page had wrong data, or if its eight tasks did not overlap their waits.
#[test]
fn the_same_program_runs_on_linux_with_async_page_faults_and_without() {
    const TASKS: f64 = 8.0;
    let Some(xtask) = Xtask::find("peer") else { return };
    let ended = xtask.experiment(&["peer", "--quick", "--repetitions", "1", "--at", "tasks=8"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let document = xtask.document("peer").expect("a document");
    assert_eq!(samples(&document).len(), 4);
    let of = |mode: &str| sample(&document, mode);
    for sample in samples(&document) {
        assert_eq!(number(sample, "counts.wrong_pages"), 0.0);
        assert_eq!(number(sample, "parameters.tasks"), TASKS);
        assert_eq!(number(sample, "metrics.pages"), 512.0);
        assert!(number(sample, "counts.host_served_pages") >= 512.0, "{sample}");
        assert!(number(sample, "metrics.requests_per_second") > 0.0, "{sample}");
        let histograms = sample["histograms"].as_array().expect("histograms");
        let touches = histograms.iter().find(|h| h["name"] == "touch").expect("touches");
        let counts = touches["buckets"].as_array().expect("buckets").iter();
        assert_eq!(counts.map(|bucket| bucket[1].as_u64().expect("a count")).sum::<u64>(), 512);
    }
    for (guest, blocked) in [("async", "blocked"), ("linux-async", "linux-blocked")] {
        let sample = of(guest);
        assert!(number(sample, "counts.ready") >= 512.0, "{sample}");
        assert!(number(sample, "counts.host_ready") >= number(sample, "counts.ready"), "{sample}");
        let (overlapped, alone) = (of(guest), of(blocked));
        let ms = |sample| number(sample, "metrics.ms_per_page");
        assert!(ms(overlapped) < ms(alone) / 1.5, "{overlapped} {alone}");
    }
    for guest in ["blocked", "linux-blocked"] {
        assert_eq!(number(of(guest), "counts.ready"), 0.0);
    }
    // Not true for Linux: its timer interrupt ends the host's stop of the core.
    assert!(number(of("blocked"), "metrics.ms_per_page") >= 5.0, "{document}");
}
