//! Kernel archives for programs other than this project's own.

use std::fs;
use std::path::Path;

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol};
use tests::Xtask;

/// Would fail if a feature did not compile with the changes of the kernel, if its code used FPU
/// registers, or if std's calls for it were missing in the archive.
#[test]
fn an_archive_with_every_feature_has_the_calls_of_std() {
    let Some(xtask) = Xtask::find("kernel") else { return };
    let features = "dhcpv4,dns,fuse,mmap,pci-ids,tcp,udp,vsock";
    let ended = xtask.call(&["build", "--kernel-features", features]);
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let folder = ended.text.lines().find_map(|line| line.strip_prefix("kernel    ")).expect("a folder");
    let calls = calls(&Path::new(folder).join("libhermit.a"));
    for call in ["sys_socket", "sys_bind", "sys_recvfrom", "sys_getaddrinfo", "sys_mmap", "sys_munmap"] {
        assert!(calls.iter().any(|found| found == call), "no {call} among {calls:?}");
    }
    // The project's own stays as it was, in a folder of its own.
    let ended = xtask.call(&["build", "--kernel-features", "smp"]);
    assert_eq!((ended.code(), ended.errors().count()), (2, 1), "{}", ended.text);
}

/// The system calls that an archive defines.
fn calls(archive: &Path) -> Vec<String> {
    let bytes = fs::read(archive).expect("an archive");
    let archive = ArchiveFile::parse(&*bytes).expect("an archive");
    let mut calls = Vec::new();
    for member in archive.members() {
        let object = member.expect("a member").data(&*bytes).expect("its bytes");
        let Ok(object) = object::File::parse(object) else { continue };
        let defined = object.symbols().filter(|symbol| symbol.is_global() && symbol.is_definition());
        calls.extend(defined.filter_map(|symbol| symbol.name().ok().map(str::to_owned)));
    }
    calls.retain(|name| name.starts_with("sys_"));
    calls
}
