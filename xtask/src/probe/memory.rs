//! The probe's verdict, remembered until the machine starts anew or what was probed
//! changes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgroups};
use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::dirs;

/// What a verdict is about. A verdict on anything else is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Linux makes it up at each start (`random(4)`).
    boot_id: String,
    /// `None` where there is no such device.
    kvm: Option<Device>,
    /// Who asks: user and groups decide whether the device opens.
    user: u32,
    groups: Vec<u32>,
    /// The probe's own source: another one may find otherwise.
    probe: u64,
}

/// `/dev/kvm`. Loading the module anew, with other parameters, makes a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    file_system: u64,
    inode: u64,
    number: u64,
    mode: u32,
    owner: u32,
    group: u32,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    subject: Subject,
    verdict: Verdict,
}

impl Subject {
    /// This machine and user; `None` if the machine does not tell one start from another.
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
        // Without keys of its own, and so the same in every process.
        let mut probe = DefaultHasher::new();
        (include_str!("guest.rs"), include_str!("mod.rs")).hash(&mut probe);
        Some(Self { boot_id, kvm, user: geteuid().as_raw(), groups, probe: probe.finish() })
    }

    /// The verdict on this subject, if there was one.
    pub fn recall(&self, file: &Path) -> Option<Verdict> {
        let remembered: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (remembered.subject == *self).then_some(remembered.verdict)
    }

    /// Remembers the verdict. Where it cannot be written there will be one more probe.
    pub fn remember(self, verdict: Verdict, file: &Path) {
        let text = serde_json::to_vec(&Remembered { subject: self, verdict }).unwrap_or_default();
        // Moved into place: another process may be reading.
        let new = file.with_extension(std::process::id().to_string());
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        if folder.and_then(|()| fs::write(&new, text)).and_then(|()| fs::rename(&new, file)).is_err() {
            let _ = fs::remove_file(&new);
        }
    }
}

/// Where it is remembered.
pub fn file() -> PathBuf {
    dirs::apf().join("probe.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Verdict {
        Verdict::Lab { reason: "for a test".into() }
    }

    fn with_memory_of(subject: &Subject, check: impl FnOnce(&Path)) {
        // Threads of one process would share a folder of one name.
        let name = format!("probe-{:?}", std::thread::current().id());
        let scratch = dirs::scratch(&name.replace(['(', ')'], "")).unwrap();
        let file = scratch.path().join("probe.json");
        subject.clone().remember(lab(), &file);
        check(&file);
    }

    #[test]
    fn a_verdict_is_recalled_in_another_process_of_the_same_start() {
        let subject = Subject::here().expect("Linux tells its start");
        with_memory_of(&subject, |file| {
            assert_eq!(Subject::here().unwrap().recall(file), Some(lab()));
            Subject::here().unwrap().remember(Verdict::Native, file);
            assert_eq!(subject.recall(file), Some(Verdict::Native));
        });
    }

    #[test]
    fn whatever_changes_makes_it_worthless() {
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
        with_memory_of(&subject, |file| {
            assert_eq!(subject.recall(file), Some(lab()));
            for changed in changed {
                assert_eq!(changed.recall(file), None, "{changed:?}");
            }
        });
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let subject = Subject::here().unwrap();
        with_memory_of(&subject, |file| {
            let text = fs::read(file).unwrap();
            for damaged in [&text[..text.len() / 2], b"", b"{}"] {
                fs::write(file, damaged).unwrap();
                assert_eq!(subject.recall(file), None);
            }
        });
    }
}
