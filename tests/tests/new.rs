//! `cargo xtask new`: a project outside this repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::{Ended, Xtask};

/// A folder outside the repository, removed at the end.
struct Outside(PathBuf);

impl Outside {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("apf-{name}-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    fn folder(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").to_owned()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Calls the user's cargo in a project.
fn cargo(project: &str, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut cargo = Command::new("cargo");
    // Set by the cargo that runs this test, and by no shell.
    for name in ["CARGO", "CARGO_MANIFEST_DIR", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(name);
    }
    cargo.args(args).envs(variables.iter().copied()).current_dir(project).stdin(Stdio::null());
    let Output { status, stdout, stderr } = cargo.output().expect("cargo starts");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    println!("{text}");
    Ended { status, text: text.into_owned() }
}

/// Returns a string in a project's settings.
fn setting(project: &str, name: &str) -> String {
    let settings = fs::read_to_string(Path::new(project).join(".cargo/config.toml")).expect("settings");
    let rest = settings.split_once(&format!("{name} = \"")).expect("the setting").1;
    rest.split_once('"').expect("its end").0.to_owned()
}

/// Changes a text in a file of a project.
fn replace(project: &str, file: &str, old: &str, new: &str) {
    let file = Path::new(project).join(file);
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.contains(old), "no {old} in {text}");
    fs::write(file, text.replacen(old, new, 1)).expect("it can be written");
}

/// Would fail if compiler, std, kernel, service or runner were missing, if a setting of the user's own cargo
/// hid one of them, or if a kernel that is missing did not stop the build, or with more than a sentence.
#[test]
fn a_new_project_is_built_and_booted_by_cargo_alone() {
    let Some(xtask) = Xtask::find("new") else { return };
    assert_eq!(xtask.call(&["setup", "--clients"]).code(), 0);
    let outside = Outside::new("new");
    let project = outside.folder("visitors");
    let ended = xtask.call(&["new", &project]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1, "the project and nothing beside it");

    let formatted = cargo(&project, &["fmt", "--check"], &[]);
    assert_eq!(formatted.code(), 0, "{}", formatted.text);
    let elsewhere = outside.folder("elsewhere");
    let own = [("RUSTFLAGS", "-Cdebuginfo=0"), ("CARGO_TARGET_DIR", &elsewhere)];
    let build = |kernel: &[_]| cargo(&project, &["build", "--locked"], &[&own[..], kernel].concat());
    let none = outside.folder("none");
    let built = build(&[("HERMIT_KERNEL_DIR", &none)]);
    let errors: Vec<_> = built.errors().collect();
    assert!(
        matches!(errors[..], [error, "error: build script logged errors"] if error.contains("none: name the folder")),
        "{}",
        built.text
    );
    let built = build(&[]);
    assert_eq!(built.code(), 0, "{}", built.text);
    // A folder relative to the one in which cargo is called.
    let kernel = setting(&project, "HERMIT_KERNEL_DIR");
    std::os::unix::fs::symlink(kernel, Path::new(&project).join("kernel")).unwrap();
    let built = build(&[("HERMIT_KERNEL_DIR", "kernel"), ("PWD", &project)]);
    assert_eq!(built.code(), 0, "{}", built.text);

    let client = "curl --silent --show-error --fail --retry 9 --retry-connrefused http://10.0.5.3:8080; \
                  echo @evict; read -r pages; curl --silent --show-error --fail http://10.0.5.3:8080";
    let options = format!(
        r#""--host", "lab", "--net=tap", "--client-at", "ready at port", "--client", "{client}", "--"]"#
    );
    replace(&project, ".cargo/config.toml", r#""--net", "--forward", "8080:8080", "--"]"#, &options);
    let ran = cargo(&project, &["run", "--locked", "--", "--of-the-program"], &own);
    assert_eq!(ran.code(), 0, "{}", ran.text);
    assert!(ran.text.contains("the page fault service runs"), "{}", ran.text);
    let waits: Vec<u64> = ran.text.lines().filter_map(waits).collect();
    assert!(matches!(waits[..], [before, after] if before < after), "{waits:?}: {}", ran.text);
}

/// Returns the number in the answer of the project's server.
fn waits(line: &str) -> Option<u64> {
    line.split_once("have waited ")?.1.split_once(" times")?.0.parse().ok()
}

#[test]
fn a_folder_that_cannot_be_a_project_is_refused_in_one_line() {
    let Some(xtask) = Xtask::find("new-refused") else { return };
    let outside = Outside::new("new-refused");
    let full = outside.folder("full");
    fs::create_dir(&full).unwrap();
    fs::write(Path::new(&full).join("mine"), "user's").unwrap();
    for (args, word) in [
        (&[&*full][..], "is not empty"),
        (&[&outside.folder("full/mine")], "full/mine cannot be the project's folder"),
        (&[&outside.folder("none/project")], "none is no folder"),
        (&[&outside.folder("2nd")], "give it another one by --name"),
        (&[&outside.folder("std")], "a crate has this name already"),
        (&[&outside.folder("good"), "--name", "a b"], "`a b` cannot be a package's name"),
        (&["/"], "/ is no new folder"),
    ] {
        let ended = xtask.call(&[&["new"], args].concat());
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{args:?}: {}", ended.text);
        assert!(ended.text.contains(word), "{args:?}: {}", ended.text);
    }
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1, "a refused project leaves nothing");
}
