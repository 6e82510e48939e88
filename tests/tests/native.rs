//! The native path, for machines whose KVM runs the guest. It is tried inside the lab, which is such
//! a machine, so that it is tried on every one.

use std::env;
use std::path::Path;

use tests::Xtask;

/// Calls the program ($1) as on a machine of its own: with a layer over the folder `target` ($2), which
/// is read-only in the lab. The driver alone is then run by a user who has only what the documents ask for.
const AS_ROOT_AND_AS_A_USER: &str = r#"
set -eu
# A VMM that runs as another user has its sockets and files there.
stat --format="the folder for temporary files has mode %a" /tmp
mkdir /tmp/layer
mount -t tmpfs layer /tmp/layer
mkdir /tmp/layer/upper /tmp/layer/work
mount -t overlay -o "lowerdir=$2,upperdir=/tmp/layer/upper,workdir=/tmp/layer/work" layer "$2"
program=$1
"$program" run --host native --memory 128MiB --region-mib 8 --pages 128 --page-latency 2ms --out /tmp/run

drive() {
    folder=/tmp/$1
    mkdir "$folder"
    chown 65534:65534 "$folder"
    code=0
    APF_LAB=$folder setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$program" drive /tmp/run/run/run/spec.json "$folder" || code=$?
    echo "the driver as a user, $1: exit code $code"
}
chmod 666 /dev/kvm
echo 0 > /proc/sys/vm/unprivileged_userfaultfd
drive without-userfaultfd
echo 1 > /proc/sys/vm/unprivileged_userfaultfd
drive with-userfaultfd
chmod 600 /dev/kvm
drive without-kvm
"#;

/// Would fail if anything of the native path were missing, or needed more rights than it says.
#[test]
fn the_native_path_runs_as_root_and_as_a_user() {
    let Some(xtask) = Xtask::find("native") else { return };
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").canonicalize().expect("a folder");
    let variable = |name: &str| format!("{name}={}", env::var(name).unwrap_or_default());
    let ended = xtask.call(&[
        "lab",
        "--timeout-s",
        "400",
        "--",
        "env",
        "-u",
        "APF_LAB",
        &variable("PATH"),
        &variable("HOME"),
        "sh",
        "-c",
        AS_ROOT_AND_AS_A_USER,
        "sh",
        xtask.program().to_str().expect("a UTF-8 path"),
        target.to_str().expect("a UTF-8 path"),
    ]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    for expected in [
        "the folder for temporary files has mode 1777",
        "host: native: this machine's KVM runs the guest",
        "on the machine's own KVM",
        "0 of 2,048 compared byte for byte",
        "sysctl vm.unprivileged_userfaultfd=1",
        "the driver as a user, without-userfaultfd: exit code 1",
        "the driver as a user, with-userfaultfd: exit code 0",
        "the driver as a user, without-kvm: exit code 1",
    ] {
        assert!(ended.text.contains(expected), "no {expected:?}: {}", ended.text);
    }
}
