//! The samples of an experiment, written down one by one as they come: what is
//! there stays when a run is interrupted.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use apf_report::document::Boot;
use apf_vocabulary::Sample;
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use crate::process::Cmd;

/// The record's file: one [`Entry`] a line.
pub const RECORD: &str = "record.jsonl";

/// One line of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// Machine on which the VM runs; comes first.
    Machine(Machine),
    /// The guest is up.
    Guest {
        /// Frequency of its time-stamp counter.
        tsc_mhz: u32,
    },
    /// A sample has ended.
    Sample(Box<Sample>),
    /// All samples have, and all memory has been compared.
    End(Boot),
}

/// The host of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub kernel: String,
    pub vmm_version: String,
}

impl Machine {
    /// The machine this process runs on, which in the lab is the lab's.
    pub fn here(spec: &Spec) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let version = Cmd::new(&spec.program).arg("--version").quiet().timeout(Duration::from_secs(20));
        let version = version.capture().context("the VMM does not print its version")?;
        Ok(Self {
            processor: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            vmm_version: version.lines().next().unwrap_or_default().trim().to_owned(),
        })
    }
}

/// Writes the record.
pub struct Recorder(File);

impl Recorder {
    /// Creates the record in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        File::create(&path).map(Self).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Adds an entry, in one write.
    pub fn add(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).context("plain data")?;
        line.push(b'\n');
        self.0.write_all(&line).context("cannot write the record of samples")
    }
}

/// A record as read back.
#[derive(Clone, Debug)]
pub struct Record {
    pub machine: Machine,
    pub tsc_mhz: u32,
    pub samples: Vec<Sample>,
    /// `None` if the guest did not reach its end.
    pub end: Option<Boot>,
}

impl Record {
    /// Reads what is there. A last line that was cut off is left out.
    ///
    /// # Errors
    /// There is none, or its first lines are missing.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} lacks its first lines", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut entries = text.lines().map_while(|line| serde_json::from_str(line).ok());
        let Some(Entry::Machine(machine)) = entries.next() else { return None };
        let Some(Entry::Guest { tsc_mhz }) = entries.next() else { return None };
        let mut record = Self { machine, tsc_mhz, samples: vec![], end: None };
        for entry in entries {
            match entry {
                Entry::Sample(sample) => record.samples.push(*sample),
                Entry::End(boot) => record.end = Some(boot),
                Entry::Machine(_) | Entry::Guest { .. } => {}
            }
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apf_vocabulary::Mode;
    use apf_vocabulary::grid::Point;

    #[test]
    fn what_was_cut_off_is_left_out() {
        let machine = Machine { processor: "p".into(), kernel: "k".into(), vmm_version: "v".into() };
        let sample = Sample {
            mode: Mode::Halt,
            parameters: Point::from([("tasks".into(), 4.0)]),
            repetition: 1,
            boot: 0,
            metrics: Point::new(),
            counts: [("host_served_pages".into(), 7)].into(),
            histograms: vec![],
            faults: vec![],
        };
        let end = Boot { compared_pages: 9, ..Boot::default() };
        let entries = [
            Entry::Machine(machine),
            Entry::Guest { tsc_mhz: 2000 },
            Entry::Sample(sample.into()),
            Entry::End(end),
        ];
        let lines = entries.map(|entry| serde_json::to_string(&entry).unwrap() + "\n");
        let whole = Record::parse(&lines.concat()).unwrap();
        assert_eq!((whole.tsc_mhz, whole.samples.len(), whole.end), (2000, 1, Some(end)));
        assert_eq!(whole.samples[0].parameters["tasks"], 4.0);
        assert_eq!(whole.samples[0].counts["host_served_pages"], 7);
        let lines = lines[..3].concat();
        let torn = Record::parse(&lines[..lines.len() - 20]).unwrap();
        assert_eq!((torn.samples.len(), torn.end), (0, None));
        assert!(Record::parse("").is_none());
    }
}
