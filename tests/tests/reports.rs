//! `cargo xtask report` and `compare`, with invented documents (`tests/data`) and no VM.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::Xtask;

fn data(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    file.to_str().expect("a UTF-8 path").into()
}

/// Makes a folder with this document; returns it and its path as text.
fn folder(xtask: &Xtask, document: &str) -> (PathBuf, String) {
    let folder = xtask.folder().join("document");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("report.json"), document).expect("a document");
    let name = folder.to_str().expect("a UTF-8 path").to_owned();
    (folder, name)
}

fn made_up() -> String {
    fs::read_to_string(data("made-up.json")).expect("a document made up for tests")
}

#[test]
fn a_report_is_drawn_in_every_format() {
    let Some(xtask) = Xtask::find("report-formats") else { return };
    let (folder, name) = folder(&xtask, &made_up());
    let ended = xtask.call(&["report", &name, "--format", "html,svg,csv,hgrm,trace,text"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert!(ended.text.contains("overlap: How long do T tasks take"), "{}", ended.text);
    // No colours, because the output is no terminal.
    assert!(!ended.text.contains('\u{1b}'), "{}", ended.text);
    let page = fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("made up for tests"));
    let table = fs::read_to_string(folder.join("samples.csv")).expect("a table");
    assert_eq!(table.lines().count(), 1 + 18, "{table}");
    let trace: Value =
        serde_json::from_slice(&fs::read(folder.join("trace.json")).expect("a trace")).expect("JSON");
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 64));
    // Without the list of them.
    let pictures = names(&folder.join("svg")).len() - 1;
    assert_eq!(page.matches("<figure").count(), pictures);
    assert_eq!(names(&folder.join("hgrm")).len(), 26 + 1);
}

#[test]
fn a_report_without_options_is_a_page_and_a_summary() {
    let Some(xtask) = Xtask::find("report-default") else { return };
    let (folder, name) = folder(&xtask, &made_up());
    let parent = xtask.folder().to_str().expect("a UTF-8 path").to_owned();
    // The document's folder, and its parent.
    for place in [&name, &parent] {
        let ended = xtask.call(&["report", place]);
        assert_eq!(ended.code(), 0, "{}", ended.text);
        assert!(
            ended.text.contains("report.html") && ended.text.contains("less is better"),
            "{}",
            ended.text
        );
        fs::remove_file(folder.join("report.html")).expect("a page was written");
        assert!(!folder.join("samples.csv").exists());
    }
}

#[test]
fn a_bad_document_is_named_and_nothing_is_overwritten() {
    let Some(xtask) = Xtask::find("report-bad") else { return };
    let good = made_up();
    let newer = fs::read_to_string(data("made-up-newer.json")).expect("a document");
    let cases = [
        (good[..1000].to_owned(), "line 1, column 1000: not JSON"),
        (newer, "newer version: schema 3, this one reads up to 2"),
        (good.replacen("\"schema\":2", "\"schema\":1", 1), "older version: schema 1"),
        ("{\"schema\": 1, \"experiment\": \"contexts\"}".into(), "a report of checks (contexts)"),
        (good.replace("\"memory_mib\":256", "\"memory_mib\":-1"), "field setting.memory_mib: invalid value"),
        (
            good.replacen("\"tasks\":1.0", "\"task\":1.0", 1),
            "field samples[0].parameters: lacks the variable `tasks`",
        ),
        ("[]".into(), "not a report"),
    ];
    for (document, expected) in cases {
        let (folder, name) = folder(&xtask, &document);
        fs::write(folder.join("report.html"), "an earlier page").expect("a page");
        let ended = xtask.call(&["report", &name]);
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
        assert!(ended.text.contains(expected), "{expected}: {}", ended.text);
        assert!(ended.text.contains("document/report.json"), "{}", ended.text);
        assert!(!ended.text.contains("backtrace"), "{}", ended.text);
        assert_eq!(fs::read_to_string(folder.join("report.html")).expect("a page"), "an earlier page");
    }
}

#[test]
fn a_report_of_an_empty_folder_is_an_error() {
    let Some(xtask) = Xtask::find("report-nothing") else { return };
    let empty = xtask.folder().to_str().expect("a UTF-8 path").to_owned();
    let ended = xtask.call(&["report", &empty]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("has no report.json"), "{}", ended.text);
    let ended = xtask.call(&["report", &empty, "--format", "pdf"]);
    assert_eq!(ended.code(), 2, "{}", ended.text);
}

/// Would fail if a document were packed with what is private, if a file were overwritten, or if the
/// lab's figures were shown as those of a real machine.
#[test]
fn documents_are_packed_to_be_sent_in_and_a_page_is_made_of_them() {
    let Some(xtask) = Xtask::find("submit") else { return };
    let command =
        format!("cargo xtask experiment run overlap --out {} -- --secret", xtask.folder().display());
    let made_up = made_up().replace("made up for tests, not measured", &command);
    let (_, name) = folder(&xtask, &made_up);
    let packed = ["a.json", "a.json.gz"].map(|name| xtask.folder().join(name));
    for file in &packed {
        let file = file.to_str().expect("UTF-8");
        let submit = || xtask.call(&["report", &name, "--format", "text", "--submit", file]);
        let ended = submit();
        assert_eq!(ended.code(), 0, "{}", ended.text);
        assert!(ended.text.contains("1 documents of the lab, not of this machine"), "{}", ended.text);
        let before = fs::read(file).expect("a file");
        let ended = submit();
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
        assert!(ended.text.contains("nothing is overwritten"), "{}", ended.text);
        assert!(fs::read(file).expect("it stays") == before);
        let ended = xtask.call(&["machines", file]);
        assert_eq!(ended.code(), 0, "{}", ended.text);
        for part in [
            "No file from real hardware",
            "## Emulated: made up for tests",
            "not of real hardware",
            "### overlap",
        ] {
            assert!(ended.text.contains(part), "{part}: {}", ended.text);
        }
    }
    let text = fs::read_to_string(&packed[0]).expect("a file");
    assert!(text.contains("cargo xtask experiment run overlap …\""), "{text}");
    assert!(!text.contains("secret") && !text.contains("tests/submit") && !text.contains("\"rip\""));
    // Other files: one line, no page.
    let native = made_up.replacen("\"host\":\"lab\"", "\"host\":\"native\"", 1);
    let (_, name) = folder(&xtask, &native);
    let elsewhere = xtask.folder().join("b.json");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let ended = xtask.call(&["report", &name, "--format", "text", "--submit", elsewhere]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("another machine or kernel (made up for tests, 6.1.0)"), "{}", ended.text);
    assert!(!Path::new(elsewhere).exists());
    for (place, expected) in
        [(&*format!("{name}/report.json"), "not a file that"), ("/nowhere", "cannot read")]
    {
        let ended = xtask.call(&["machines", place]);
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
        assert!(ended.text.contains(expected) && !ended.text.contains("# Machines"), "{}", ended.text);
    }
}

#[test]
fn compare_reports_regressions_by_its_exit_code() {
    let Some(xtask) = Xtask::find("compare") else { return };
    let (first, slower, again) =
        (data("made-up.json"), data("made-up-slower.json"), data("made-up-again.json"));
    let ended = xtask.call(&["compare", &first, &slower]);
    assert_eq!(ended.code(), 1, "{}", ended.text);
    assert!(
        ended.text.contains("REGRESSION") && ended.text.contains("2 past the limit of 5 %"),
        "{}",
        ended.text
    );
    let ended = xtask.call(&["compare", &first, &slower, "--limit", "60%"]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let ended = xtask.call(&["compare", &first, &again]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert!(ended.text.contains("0 past the limit"), "{}", ended.text);
}

#[test]
fn compare_refuses_documents_that_are_not_comparable() {
    let Some(xtask) = Xtask::find("compare-refuses") else { return };
    let first = data("made-up.json");
    for (from, to, expected) in [
        ("\"vmm\":\"uhyve\"", "\"vmm\":\"qemu\"", "setting.vmm is uhyve in the first and qemu in the second"),
        ("\"cores\":1", "\"cores\":4", "setting.cores is 1 in the first and 4 in the second"),
        ("\"name\":\"overlap\"", "\"name\":\"storm\"", "experiment.name is overlap in the first and storm"),
        ("\"pages\":64.0", "\"pages\":65.0", "parameter pages is 64 in the first and 65 in the second"),
        ("\"schema\":2", "\"schema\":3", "newer version"),
    ] {
        let (_, second) = folder(&xtask, &made_up().replace(from, to));
        let ended = xtask.call(&["compare", &first, &second]);
        assert_eq!((ended.code(), ended.errors().count()), (2, 1), "{}", ended.text);
        assert!(ended.text.contains(expected), "{expected}: {}", ended.text);
    }
    let ended = xtask.call(&["compare", &first, &first, "--limit", "five"]);
    assert_eq!(ended.code(), 2, "{}", ended.text);
    assert!(ended.text.contains("as in 5%"), "{}", ended.text);
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_report_replaces_and_removes_no_file_of_the_users() {
    let Some(xtask) = Xtask::find("report-foreign") else { return };
    let (folder, name) = folder(&xtask, &made_up());
    let draw = || xtask.call(&["report", &name, "--format", "svg,hgrm,csv"]);
    assert_eq!(draw().code(), 0);
    let before = names(&folder.join("svg"));
    for file in ["svg/mine.svg", "hgrm/mine.hgrm"] {
        fs::write(folder.join(file), "the user's").expect("a file");
    }
    // A document with one picture less.
    let fewer = made_up().replacen("\"better\":\"higher\"", "\"better\":\"neither\"", 1);
    fs::write(folder.join("report.json"), fewer).expect("a document");
    assert_eq!(draw().code(), 0);
    let after = names(&folder.join("svg"));
    assert_eq!(after.len(), before.len(), "one less, and the user's: {after:?}");
    for file in ["svg/mine.svg", "hgrm/mine.hgrm"] {
        assert_eq!(fs::read_to_string(folder.join(file)).expect("it stays"), "the user's");
    }
    fs::write(folder.join("samples.csv"), "edited").expect("a file");
    let ended = draw();
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(
        ended.text.contains("samples.csv is in the way") && ended.text.contains("--out"),
        "{}",
        ended.text
    );
    assert_eq!(fs::read_to_string(folder.join("samples.csv")).expect("it stays"), "edited");
}

#[test]
fn two_reports_of_one_name_are_not_drawn_over_each_other() {
    let Some(xtask) = Xtask::find("report-collision") else { return };
    let out = xtask.folder().join("out");
    let places = ["a/overlap", "b/overlap"].map(|below| {
        let folder = xtask.folder().join(below);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("report.json"), made_up()).expect("a document");
        folder.to_str().expect("a UTF-8 path").to_owned()
    });
    let args = ["report", &places[0], &places[1], "--out", out.to_str().expect("a UTF-8 path")];
    let ended = xtask.call(&args);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("would both be drawn into") && !out.exists(), "{}", ended.text);
    // One document named twice is no collision.
    let ended = xtask.call(&["report", &places[0], &places[0]]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
}

#[test]
fn a_report_is_complete_or_absent_where_the_disk_is_full() {
    let Some(xtask) = Xtask::find("report-full") else { return };
    let (folder, name) = folder(&xtask, &made_up());
    fs::create_dir(folder.join("svg")).expect("a folder");
    // No file may be longer than 8 KiB, which the page is; the signal of that is ignored.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" report \"$1\" --format html,svg";
    let ended = xtask.in_shell(script, &name);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("report.html") && !ended.text.contains("panicked"), "{}", ended.text);
    assert_eq!(names(&folder), ["report.json", "svg"]);
}

#[test]
fn a_program_whose_reader_has_gone_ends_quietly() {
    let Some(xtask) = Xtask::find("reader-gone") else { return };
    let (_, name) = folder(&xtask, &made_up());
    for args in [&["report", &name][..], &["compare", &name, &name], &["experiment", "list"]] {
        let ended = xtask.call_unread(args);
        assert_eq!((ended.code(), ended.text.as_str()), (141, ""), "{args:?}");
    }
}

#[test]
fn text_of_a_document_does_not_command_the_terminal() {
    let Some(xtask) = Xtask::find("report-escapes") else { return };
    let (_, name) = folder(&xtask, &made_up().replace("tasks that read", "\\u001b[2J\\u0007tasks"));
    for args in [&["report", &name, "--format", "text,csv"][..], &["compare", &name, &name]] {
        let ended = xtask.call(args);
        assert_eq!(ended.code(), 0, "{}", ended.text);
        assert!(ended.text.contains("\\u{1b}[2J\\u{7}tasks"), "{}", ended.text);
        assert!(!ended.text.contains(['\u{1b}', '\u{7}']), "{}", ended.text);
    }
}
