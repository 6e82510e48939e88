//! `cargo xtask image`: each image boots, bad input is reported, two builds are identical.
//!
//! Most tests use an emulated machine without KVM: the service stays off there, and the path
//! from power-on to the program is what is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::emulated::{self, Built, boot};
use tests::{Ended, Xtask};

/// Time limit of a boot; UEFI's own start takes most of it.
const LIMIT: Duration = Duration::from_secs(120);
/// The program's message at its start, before it waits for the host.
const STARTED: &str = "{\"event\":\"sample_begins\",\"mode\":\"blocked\"";
/// Arguments of the program, and a part of its message that shows that it got them.
const ARGS: [&str; 2] = ["--region-mib", "3"];
const ARRIVED: &str = "\"region_pages\":768";

/// Makes images in the test's folder, of the application `app` if there is one.
fn make(xtask: &Xtask, folder: &str, app: Option<&Path>) -> (Ended, PathBuf) {
    let out = xtask.folder().join(folder);
    let mut args = vec!["image", "--out", out.to_str().expect("a UTF-8 path")];
    if let Some(app) = app {
        args.extend(["--app", app.to_str().expect("a UTF-8 path")]);
    }
    args.push("--");
    (xtask.call(&[&args[..], &ARGS].concat()), out)
}

fn manifest(out: &Path) -> Value {
    let text = fs::read(out.join("manifest.json")).expect("there is a manifest");
    serde_json::from_slice(&text).expect("manifest.json is JSON")
}

#[test]
fn each_image_boots_in_an_emulated_machine() {
    let Some(xtask) = Xtask::find("images") else { return };
    if !emulated::is_there("images") {
        return;
    }
    let (ended, out) = make(&xtask, "all", None);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let file = |name: &str| out.join(name).to_str().expect("a UTF-8 path").to_owned();
    let append = format!("-- {}", ARGS.join(" "));
    let drive = format!("format=raw,file={}", file("disk.img"));
    // Unpacked together with the tools that make disk images.
    let firmware = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/apf/grub/usr/share/ovmf/OVMF.fd");
    let ways = [
        ("qemu", vec!["-kernel", "loader.elf", "-initrd", "app.elf", "-append", &append]),
        ("standalone", vec!["-kernel", "standalone.elf", "-append", &append]),
        ("disk, BIOS", vec!["-drive", &drive]),
        ("disk, UEFI", vec!["-bios", firmware, "-drive", &drive]),
    ];
    for (way, args) in ways {
        let args: Vec<String> = args
            .iter()
            .map(|arg| if arg.ends_with(".elf") { file(arg) } else { (*arg).to_owned() })
            .collect();
        let ran = boot(&args, Some(STARTED), LIMIT);
        assert!(ran.text.contains(STARTED) && ran.text.contains(ARRIVED), "{way}: {}", ran.text);
    }
    // A machine whose memory ends below the bundled application.
    let ran = boot(&["-kernel", &file("standalone.elf"), "-m", "4M"], None, LIMIT);
    assert_eq!(ran.code, 45, "{}", ran.text);
    assert!(ran.text.contains("the image file does not fit"), "{}", ran.text);
}

/// Boots on real KVM, this machine's or the lab's, by the manifest's commands, uhyve's among
/// them.
#[test]
fn each_command_of_the_manifest_boots_and_qemu_takes_at_most_twice_uhyves_time() {
    let Some(xtask) = Xtask::find("image-time") else { return };
    let out = xtask.folder().to_str().expect("a UTF-8 path");
    let ended = xtask.call(&[&["image", "--out", out, "--time", "3", "--"], &ARGS[..]].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let times = |image: &str| -> f64 {
        let line = ended.text.lines().find(|line| line.trim_start().starts_with(&format!("{image} ")));
        let words: Vec<&str> =
            line.unwrap_or_else(|| panic!("no time of {image}")).split_whitespace().collect();
        let at = words.iter().position(|word| *word == "times").expect("times uhyve");
        words[at - 1].parse().expect("a number")
    };
    assert!(times("qemu") <= 2.0 && times("standalone") <= 2.0, "{}", ended.text);
    assert!(times("disk") > 0.0, "GRUB takes its own time");
}

#[test]
fn two_builds_of_the_images_are_identical_and_match_their_manifest() {
    let Some(xtask) = Xtask::find("image-same") else { return };
    let built = Built::new(&xtask);
    let (first, one) = make(&xtask, "one", None);
    // A later call, with the application as a file.
    let (second, two) = make(&xtask, "two", Some(Path::new(built.file("unikernel"))));
    assert_eq!((first.code(), second.code()), (0, 0), "{}{}", first.text, second.text);
    for name in ["app.elf", "loader.elf", "standalone.elf", "disk.img", "manifest.json"] {
        let read = |folder: &Path| fs::read(folder.join(name)).expect("it was made");
        let bytes = read(&one);
        assert!(bytes == read(&two), "{name} differs");
        // Both have the same compiled kernel, so a time of compilation would not differ.
        assert_eq!(time_of_day(&bytes), None, "{name}");
    }
    let manifest = manifest(&one);
    let images = manifest["images"].as_array().expect("images");
    assert_eq!(
        images.iter().map(|image| &image["name"]).collect::<Vec<_>>(),
        ["uhyve", "qemu", "standalone", "disk"]
    );
    for file in images.iter().flat_map(|image| image["files"].as_array().expect("files")) {
        let path = one.join(file["file"].as_str().expect("a name"));
        assert_eq!(file["size"].as_u64(), fs::metadata(&path).ok().map(|meta| meta.len()), "{path:?}");
        let sum = std::process::Command::new("sha256sum").arg(&path).output().expect("sha256sum starts");
        let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
        assert!(sum.starts_with(file["sha256"].as_str().expect("a hash")), "{path:?}: {sum}");
    }
}

/// Finds a date and time of a build, as in `2026-11-23T13:26`.
fn time_of_day(bytes: &[u8]) -> Option<String> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd";
    let alike =
        |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    let found = bytes.windows(SHAPE.len()).find(|window| window.iter().zip(SHAPE).all(alike));
    found.map(|found| String::from_utf8_lossy(found).into_owned())
}

#[test]
fn an_unusable_application_is_refused_before_any_output() {
    let Some(xtask) = Xtask::find("image-refused") else { return };
    let text = xtask.folder().join("text");
    fs::write(&text, "no ELF file").expect("the test's folder can be written");
    let own = std::env::current_exe().expect("this test's own file");
    let missing = xtask.folder().join("missing");
    // The offset of a segment, which must be a multiple of its alignment.
    let damaged = xtask.folder().join("damaged");
    let mut bytes = fs::read(Built::new(&xtask).file("unikernel")).expect("the unikernel was built");
    bytes[64 + 56 + 8] ^= 1;
    fs::write(&damaged, bytes).expect("the test's folder can be written");
    for (app, words) in [
        (missing.as_path(), "cannot read the application"),
        (xtask.folder(), "cannot read the application"),
        (&text, "not an ELF file"),
        (&own, "not a Hermit image"),
        (&damaged, "malformed"),
    ] {
        let (ended, out) = make(&xtask, "out", Some(app));
        assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
        assert!(!ended.text.contains("panicked"), "{}", ended.text);
        assert!(!out.exists(), "nothing is written");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let Some(xtask) = Xtask::find("image-folder") else { return };
    fs::write(xtask.folder().join("file"), "").expect("the test's folder can be written");
    let (ended, out) = make(&xtask, "file", None);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains(out.to_str().expect("a UTF-8 path")), "{}", ended.text);
}

#[test]
fn an_application_in_the_folder_of_its_images_stays() {
    let Some(xtask) = Xtask::find("image-foreign") else { return };
    let folder = xtask.folder().join("out");
    fs::create_dir(&folder).expect("a folder");
    let app = folder.join("app.elf");
    fs::copy(Built::new(&xtask).file("unikernel"), &app).expect("the unikernel was built");
    fs::write(folder.join("disk.new"), "the user's").expect("a file");
    let before = fs::read(&app).expect("the application");
    let (ended, _) = make(&xtask, "out", Some(&app));
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("app.elf is in the way"), "{}", ended.text);
    assert!(
        fs::read(&app).expect("it stays") == before && fs::read_dir(&folder).expect("a folder").count() == 2
    );
}
