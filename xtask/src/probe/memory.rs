//! The remembered verdict, valid until the machine restarts or the subject of the probe
//! changes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgroups};
use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::dirs;

/// The subject of a verdict: a verdict on any other subject is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Random number that Linux makes at each start (`random(4)`).
    boot_id: String,
    /// `None`: there is no such device.
    kvm: Option<Device>,
    /// User and groups decide whether the device opens.
    user: u32,
    groups: Vec<u32>,
    /// Hash of the probe's source: another version may decide otherwise.
    probe: u64,
}

/// `/dev/kvm`. Reloading the module, perhaps with other parameters, makes a new inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    file_system: u64,
    inode: u64,
    number: u64,
    mode: u32,
    owner: u32,
    group: u32,
}

impl Subject {
    /// Describes this machine and user; `None` if the machine's boot id cannot be read.
    pub fn here() -> Option<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let kvm = fs::metadata("/dev/kvm").ok().map(|device| Device {
            file_system: device.dev(),
            inode: device.ino(),
            number: device.rdev(),
            mode: device.mode(),
            owner: device.uid(),
            group: device.gid(),
        });
        let mut groups: Vec<u32> = getgroups().ok()?.iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        groups.sort_unstable();
        // `DefaultHasher::new` has fixed keys, so that every process gets the same hash.
        let mut probe = DefaultHasher::new();
        (include_str!("guest.rs"), include_str!("mod.rs")).hash(&mut probe);
        Some(Self { boot_id, kvm, user: geteuid().as_raw(), groups, probe: probe.finish() })
    }

    /// Reads the verdict on this subject from `file`, if it is there.
    pub fn recall(&self, file: &Path) -> Option<Verdict> {
        let (subject, verdict): (Self, _) = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (subject == *self).then_some(verdict)
    }

    /// Writes the verdict to `file`. If that fails, the next call probes again.
    pub fn remember(self, verdict: Verdict, file: &Path) {
        let text = serde_json::to_vec(&(self, verdict)).unwrap_or_default();
        // Moved into place: another process may be reading.
        let new = file.with_extension(std::process::id().to_string());
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        if folder.and_then(|()| fs::write(&new, text)).and_then(|()| fs::rename(&new, file)).is_err() {
            let _ = fs::remove_file(&new);
        }
    }
}

/// Returns the path of the remembered verdict.
pub fn file() -> PathBuf {
    dirs::apf().join("probe.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Verdict {
        Verdict::Lab { reason: "for a test".into() }
    }

    fn with_verdict_on(subject: &Subject, check: impl FnOnce(&Path)) {
        // Threads of one process would share a folder of one name.
        let name = format!("probe-{:?}", std::thread::current().id());
        let scratch = dirs::scratch(&name.replace(['(', ')'], "")).unwrap();
        let file = scratch.path().join("probe.json");
        subject.clone().remember(lab(), &file);
        check(&file);
    }

    #[test]
    fn a_verdict_is_recalled_in_another_process_of_the_same_start() {
        let subject = Subject::here().expect("Linux has a boot id");
        with_verdict_on(&subject, |file| {
            assert_eq!(Subject::here().unwrap().recall(file), Some(lab()));
            Subject::here().unwrap().remember(Verdict::Native, file);
            assert_eq!(subject.recall(file), Some(Verdict::Native));
        });
    }

    #[test]
    fn a_verdict_on_a_changed_subject_is_not_recalled() {
        let device =
            Device { file_system: 5, inode: 300, number: 0xae8, mode: 0o20660, owner: 0, group: 104 };
        let subject = Subject { kvm: Some(device.clone()), ..Subject::here().unwrap() };
        let changed = [
            Subject { boot_id: "another start".into(), ..subject.clone() },
            Subject { kvm: None, ..subject.clone() },
            Subject { kvm: Some(Device { inode: 301, ..device.clone() }), ..subject.clone() },
            Subject { kvm: Some(Device { mode: 0o20666, ..device }), ..subject.clone() },
            Subject { user: subject.user + 1, ..subject.clone() },
            Subject { groups: vec![104], ..subject.clone() },
            Subject { probe: !subject.probe, ..subject.clone() },
        ];
        with_verdict_on(&subject, |file| {
            assert_eq!(subject.recall(file), Some(lab()));
            for changed in changed {
                assert_eq!(changed.recall(file), None, "{changed:?}");
            }
        });
    }

    #[test]
    fn a_damaged_file_has_no_verdict() {
        let subject = Subject::here().unwrap();
        with_verdict_on(&subject, |file| {
            let text = fs::read(file).unwrap();
            for damaged in [&text[..text.len() / 2], b"", b"{}"] {
                fs::write(file, damaged).unwrap();
                assert_eq!(subject.recall(file), None);
            }
        });
    }
}
