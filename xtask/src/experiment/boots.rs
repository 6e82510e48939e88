//! Boots of an experiment's guests, in their order, and the record of each.

use std::ops::Range;
use std::path::{Path, PathBuf};

use apf_report::document::Mode;

use crate::drive::record::Record;
use crate::drive::spec::System;

/// One boot of one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    pub system: System,
    /// In turn, in this boot.
    pub modes: Vec<Mode>,
    /// Of the experiment's repetitions.
    pub repetitions: Range<u32>,
}

impl Boot {
    /// The modes as the guest is given them.
    pub fn mode_names(&self) -> String {
        self.modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(",")
    }

    /// Number of repetitions.
    pub fn count(&self) -> u32 {
        self.repetitions.end - self.repetitions.start
    }
}

/// The boots in which `modes` are measured. Hermit takes all its modes in one boot. Linux
/// has one for good from its command line, so that there is a boot for each; then the
/// guests take turns, repetition by repetition, every other time the other way round.
pub fn plan(modes: &[Mode], repetitions: u32) -> Vec<Boot> {
    let (linux, hermit): (Vec<Mode>, Vec<Mode>) = modes.iter().partition(|mode| mode.is_linux());
    if linux.is_empty() {
        return vec![Boot { system: System::Hermit, modes: hermit, repetitions: 0..repetitions }];
    }
    let round = |repetition: u32| {
        let boot = |system, modes| Boot { system, modes, repetitions: repetition..repetition + 1 };
        let mut boots = vec![boot(System::Hermit, hermit.clone())];
        boots.extend(linux.iter().map(|&mode| boot(System::Linux, vec![mode])));
        if repetition % 2 == 1 {
            boots.reverse();
        }
        boots
    };
    (0..repetitions).flat_map(round).collect()
}

/// Record of one boot.
#[derive(Clone, Debug)]
pub struct Part {
    pub boot: Boot,
    /// Number of the boot, from 0.
    pub number: u32,
    pub record: Record,
}

/// The folder of the boot `number` of so many, in that of the experiment's run.
pub fn folder(run: &Path, number: usize, of: usize) -> PathBuf {
    if of == 1 { run.to_path_buf() } else { run.join(format!("boot-{number}")) }
}

/// Reads the records of all `boots` so far.
pub fn parts(run: &Path, boots: &[Boot]) -> Vec<Part> {
    let part = |(number, boot): (u32, &Boot)| {
        let record = Record::read(&folder(run, number as usize, boots.len())).ok()?;
        Some(Part { boot: boot.clone(), number, record })
    };
    (0..).zip(boots).filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hermit_alone_is_booted_once() {
        let boots = plan(&[Mode::Blocked, Mode::Halt, Mode::Async], 5);
        assert_eq!(boots.len(), 1);
        assert_eq!((boots[0].mode_names().as_str(), boots[0].count()), ("blocked,halt,async", 5));
        assert_eq!(folder(Path::new("run"), 0, 1), Path::new("run"));
    }

    #[test]
    fn guests_take_turns_there_and_back() {
        let boots = plan(&[Mode::Blocked, Mode::Async, Mode::LinuxBlocked, Mode::LinuxAsync], 2);
        let names: Vec<_> = boots.iter().map(|boot| (boot.system, boot.mode_names())).collect();
        let of = |system, names: &str| (system, names.to_owned());
        let there = [
            ("blocked,async", System::Hermit),
            ("linux-blocked", System::Linux),
            ("linux-async", System::Linux),
        ]
        .map(|(names, system)| of(system, names));
        assert_eq!(names[..3], there);
        assert!(names[3..].iter().eq(there.iter().rev()));
        assert_eq!((boots[0].repetitions.clone(), boots[5].repetitions.clone()), (0..1, 1..2));
        assert_eq!(folder(Path::new("run"), 4, 6), Path::new("run/boot-4"));
    }
}
