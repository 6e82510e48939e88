//! Errors for bad input: one line that says what to do, and a non-zero exit code.

use tests::Xtask;

#[test]
fn unknown_words_get_usage_and_exit_code_2() {
    let Some(xtask) = Xtask::find("unknown-words") else { return };
    for args in
        [&["frobnicate"][..], &["run", "--frobnicate"], &["run", "contexts"], &["run", "--tasks", "0"], &[]]
    {
        let ended = xtask.call(args);
        assert_eq!(ended.code(), 2, "{args:?}");
        assert!(ended.text.contains("Usage") || ended.text.contains("--help"), "{args:?}: {}", ended.text);
    }
}

#[test]
fn impossible_values_name_the_option_and_the_limit() {
    let Some(xtask) = Xtask::find("impossible-values") else { return };
    for (args, word) in [
        (&["--pages", "300", "--region-mib", "1"][..], "--region-mib 1 has (256)"),
        (&["--memory", "64MiB"], "at least 112MiB"),
        (&["--memory", "64GiB"], "at most 2GiB"),
        (&["--exact", "--host", "native"], "--host lab or auto"),
        (&["--exact", "--smp", "2"], "one core, not 2"),
    ] {
        let ended = xtask.run(args);
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{args:?}: {}", ended.text);
        assert!(ended.text.contains(word), "{args:?}: {}", ended.text);
        assert!(!ended.text.contains("backtrace"), "{}", ended.text);
        assert!(xtask.document("run").is_none());
    }
    let ended = xtask.run(&["--page-latency", "1h"]);
    assert_eq!((ended.code(), ended.errors().count()), (2, 1), "{}", ended.text);
    assert!(ended.text.contains("--page-latency") && ended.text.contains("above 10s"), "{}", ended.text);
}
