//! Errors for bad input: one line that says what to do, and a non-zero exit code.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

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

/// Each of these settings alone stops a build, sends its product elsewhere, or changes it.
#[test]
fn builds_ignore_the_users_own_cargo_settings() {
    let Some(xtask) = Xtask::find("cargo-settings") else { return };
    let built = xtask.call(&["build"]);
    assert_eq!(built.code(), 0, "{}", built.text);
    let paths = built.text.lines().filter_map(|line| line.split_whitespace().nth(1));
    let products: Vec<PathBuf> = paths.map(PathBuf::from).filter(|path| path.is_file()).collect();
    assert_eq!(products.len(), 3, "unikernel, loader and pager: {}", built.text);
    let contents = || products.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = contents();
    let variables = [
        ("CARGO_BUILD_TARGET", "wasm32-unknown-unknown"),
        ("CARGO_BUILD_RUSTFLAGS", "--no-such-flag"),
        ("RUSTFLAGS", "--no-such-flag"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
        ("RUSTC_WRAPPER", "/bin/false"),
        ("HERMIT_LOG_LEVEL_FILTER", "trace"),
    ];
    let ended = xtask.call_with(&variables, &["build"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert!(contents() == before, "the settings changed a product");
}

#[test]
fn a_copied_build_folder_does_not_work_on_the_original() {
    let Some(xtask) = Xtask::find("copied") else { return };
    let copy = xtask.folder().join("copy");
    let program = copy.join("target/debug/xtask");
    fs::create_dir_all(copy.join("xtask/src")).unwrap();
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(copy.join("xtask/src/dirs.rs"), "").unwrap();
    fs::copy(xtask.program(), &program).unwrap();
    let output = Command::new(&program).arg("build").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("would work there, not in") && text.contains("copied/copy"), "{text}");
}
