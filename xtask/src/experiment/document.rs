//! The parts of a document that are not samples, and the file.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result};
use apf_report::document::{Boot as End, Document, Experiment, Metric, Parameter, SCHEMA, Setting};
use apf_vocabulary::{Counters, Sample};

use super::boots::{Boot, Part};
use super::definition::Definition;
use crate::drive::evict::Evict;
use crate::drive::record::{Paged, Record, SampleOutcome};
use crate::process::Cmd;

/// The document's file.
const FILE: &str = "report.json";
/// Name of the previous document, kept for comparison.
const PREVIOUS: &str = "report.previous.json";

/// The parts of a document that are known before the guest starts.
#[derive(Clone)]
pub struct Sketch {
    pub definition: &'static Definition,
    pub host: &'static str,
    /// True if the lab's clock counts instructions.
    pub exact: bool,
    pub vmm: &'static str,
    pub guest_kernel: String,
    pub cores: u32,
    pub memory_mib: u32,
    pub page_latency: String,
    /// Choice of evicted pages.
    pub evict: Evict,
    pub seed: u64,
    pub began: SystemTime,
    pub revision: Revision,
}

/// Revision that was built. Read beforehand: an interrupted program starts no commands.
#[derive(Clone, Default)]
pub struct Revision {
    name: Option<String>,
    modified: bool,
}

impl Revision {
    /// Of this checkout, if it is one.
    pub fn here() -> Self {
        let git = |args: &[&str]| Cmd::new("git").args(args).cwd(crate::dirs::root()).quiet().capture().ok();
        Self {
            name: git(&["rev-parse", "HEAD"]).map(|name| name.trim().to_owned()),
            modified: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.trim().is_empty()),
        }
    }
}

impl Sketch {
    /// The document with what was recorded; `None` if there is no sample yet.
    pub fn fill(&self, parts: &[Part]) -> Option<Document> {
        let record = &parts.iter().find(|part| !part.record.samples.is_empty())?.record;
        let samples = |part: &Part| {
            part.record.samples.iter().map(|one| sample(&part.boot, part.number, one)).collect()
        };
        let ends = parts.iter().filter_map(|part| part.record.end).collect();
        let samples = parts.iter().flat_map(|part| -> Vec<_> { samples(part) }).collect();
        Some(self.fill_with(samples, ends, record))
    }

    /// The document with these samples and ends of boots, from where the record says.
    pub fn fill_with(&self, samples: Vec<Sample>, boots: Vec<End>, record: &Record) -> Document {
        // Both are about memory that is out as a whole: pages that are there cost nothing.
        let whole = self.evict.is_all();
        let claims = self.definition.claims.iter().filter_map(|claim| claim(&samples));
        Document {
            schema: SCHEMA,
            experiment: experiment(self.definition),
            setting: self.setting(record),
            references: if whole { (self.definition.references)(&samples, self.cores) } else { vec![] },
            claims: if whole { claims.collect() } else { vec![] },
            samples,
            boots,
        }
    }

    fn setting(&self, record: &Record) -> Setting {
        let words: Vec<String> = env::args().skip(1).collect();
        Setting {
            host: self.host.into(),
            exact: self.exact,
            processor: record.machine.processor.clone(),
            host_kernel: record.machine.kernel.clone(),
            vmm: self.vmm.into(),
            vmm_version: record.machine.vmm_version.clone(),
            guest_kernel: self.guest_kernel.clone(),
            cores: self.cores,
            memory_mib: self.memory_mib,
            tsc_mhz: record.tsc_mhz,
            page_latency: self.page_latency.clone(),
            evict: self.evict.to_string(),
            seed: self.seed,
            git_revision: self.revision.name.clone(),
            git_modified: self.revision.modified,
            command: format!("cargo xtask {}", words.join(" ")),
            began: humantime::format_rfc3339_seconds(self.began).to_string(),
        }
    }
}

fn experiment(definition: &Definition) -> Experiment {
    let parameter = |(name, label): (&str, &str)| Parameter { name: name.into(), label: label.into() };
    let metric =
        |&(name, label, better): &(&str, &str, _)| Metric { name: name.into(), label: label.into(), better };
    Experiment {
        name: definition.name.into(),
        question: definition.question.into(),
        variable: parameter(definition.variable),
        panel: definition.panel.map(parameter),
        baseline: definition.baseline,
        falsified_by: definition.falsified_by.into(),
        metrics: definition.metrics.iter().map(metric).collect(),
    }
}

/// A sample as the document has it, of the boot with this number.
pub fn sample(boot: &Boot, number: u32, outcome: &SampleOutcome) -> Sample {
    let mut sample = outcome.sample.clone();
    sample.boot = number;
    sample.repetition += boot.repetitions.start;
    let counts = &mut sample.counts;
    // High-water marks of the whole run, which say nothing of one sample.
    counts.retain(|name, _| !Counters::is_mark(name));
    let paged = match outcome.paged {
        Paged::Pager { served_pages, evictions, evicted_pages } => [
            ("host_served_pages", served_pages),
            ("host_evictions", evictions),
            ("host_evicted_pages", evicted_pages),
        ],
        Paged::Swap(swap) => [
            ("host_out_pages", swap.out_pages),
            ("host_major_faults", swap.major_faults),
            ("host_swapped_in_pages", swap.swapped_in),
        ],
    };
    counts.extend(paged.map(|(name, count)| (name.to_owned(), count)));
    if let Some(host) = outcome.host {
        counts.extend([
            ("host_not_present".into(), host.not_present),
            ("host_ready".into(), host.ready),
            ("host_synchronous".into(), host.synchronous),
        ]);
    }
    sample
}

/// The document with a line for each member, and for each sample: a whole run has
/// too many numbers for a line each.
fn text(document: &Document) -> Result<String> {
    let Document { schema, experiment, setting, samples, boots, references, claims } = document;
    let lines = |members: Vec<String>| format!("[\n{}\n]", members.join(",\n"));
    let each = samples.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let members = [
        ("schema", schema.to_string()),
        ("experiment", serde_json::to_string_pretty(experiment)?),
        ("setting", serde_json::to_string_pretty(setting)?),
        ("claims", serde_json::to_string_pretty(claims)?),
        ("references", serde_json::to_string(references)?),
        ("boots", serde_json::to_string(boots)?),
        ("samples", lines(each)),
    ];
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    Ok(format!("{{\n{}\n}}\n", members.join(",\n")))
}

/// Writes the document into `folder`, in one piece; the one that was there
/// stays under another name.
///
/// # Errors
/// The file cannot be written.
pub fn write(document: &Document, folder: &Path) -> Result<PathBuf> {
    let (file, new) = (folder.join(FILE), folder.join("report.json.new"));
    let text = text(document).context("plain data")?;
    fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
    if file.exists() {
        fs::rename(&file, folder.join(PREVIOUS))
            .with_context(|| format!("cannot rename {}", file.display()))?;
    }
    fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use crate::dirs;
    use crate::drive::record::Machine;
    use crate::drive::spec::{HostCounts, System};
    use crate::drive::swap::SwapCounts;
    use apf_vocabulary::grid::Point;
    use apf_vocabulary::{Histogram, Mode};

    fn parts() -> [Part; 1] {
        let counters = Counters { not_present: 9, most_outstanding: 5, ..Default::default() };
        let sample = Sample {
            repetition: 3,
            metrics: Point::from([("ms_per_page".into(), 2.5)]),
            counts: counters.to_counts(),
            histograms: vec![Histogram { name: "halt total".into(), per_us: 2000.0, buckets: vec![(7, 1)] }],
            faults: vec![(0, 7, 0x1000, true, [1, 2, 3, 4, 5]).into()],
            ..Sample::new(Mode::Async, Point::from([("tasks".into(), 1.0), ("page_latency_ms".into(), 1.0)]))
        };
        let machine = Machine { processor: "p".into(), kernel: "k".into(), vmm_version: "v".into() };
        let host = Some(HostCounts { not_present: 9, ready: 8, synchronous: 0 });
        let samples = vec![SampleOutcome {
            sample,
            host,
            paged: Paged::Pager { served_pages: 11, evictions: 2, evicted_pages: 12 },
        }];
        let boot = Boot { system: System::Hermit, modes: vec![Mode::Async], repetitions: 0..5 };
        let end = End { compared_pages: 4096, ..End::default() };
        [Part { boot, number: 0, record: Record { machine, tsc_mhz: 2000, samples, end: Some(end) } }]
    }

    fn sketch() -> Sketch {
        Sketch {
            definition: catalogue::find("overlap").unwrap(),
            host: "lab",
            exact: false,
            vmm: "uhyve",
            guest_kernel: "Hermit 1".into(),
            cores: 1,
            memory_mib: 256,
            page_latency: "20ms".into(),
            evict: Evict::default(),
            seed: 1,
            began: SystemTime::UNIX_EPOCH,
            revision: Revision::default(),
        }
    }

    #[test]
    fn guest_and_host_are_in_the_sample() {
        let document = sketch().fill(&parts()).unwrap();
        let sample = &document.samples[0];
        assert_eq!((sample.mode, sample.repetition), (Mode::Async, 3));
        assert_eq!(sample.counts["not_present"], 9);
        assert_eq!((sample.counts["host_ready"], sample.counts["host_served_pages"]), (8, 11));
        assert_eq!((sample.counts["host_evictions"], sample.counts["host_evicted_pages"]), (2, 12));
        assert!(!sample.counts.contains_key("most_outstanding"));
        assert_eq!(sample.histograms[0].buckets, [(7, 1)]);
        assert_eq!((sample.faults[0].token, sample.faults[0].running), (7, 5));
        assert_eq!(document.boots[0].compared_pages, 4096);
        assert_eq!(sketch().fill(&[]), None);
        assert_eq!(document.setting.began, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn swap_counts_what_was_out_and_read_and_no_pager() {
        let [mut part] = parts();
        part.record.samples[0].paged =
            Paged::Swap(SwapCounts { out_pages: 9, major_faults: 4, swapped_in: 8 });
        let document = sketch().fill(&[part]).unwrap();
        let counts = &document.samples[0].counts;
        assert_eq!((counts["host_out_pages"], counts["host_major_faults"]), (9, 4));
        assert_eq!(counts["host_swapped_in_pages"], 8);
        assert!(!counts.contains_key("host_served_pages"));
    }

    #[test]
    fn what_is_said_of_memory_that_is_out_is_not_said_of_a_part() {
        let part = Sketch { evict: "fraction:0.5".parse().unwrap(), ..sketch() };
        let sample = |mode| {
            let [mut part] = parts();
            let mut outcome = part.record.samples.remove(0);
            outcome.sample.mode = mode;
            outcome.sample.metrics.insert("fault_cost_ms".into(), 0.5);
            outcome
        };
        let samples = vec![sample(Mode::Blocked), sample(Mode::Async)];
        let [mut boot] = parts();
        boot.record.samples = samples;
        let boots = [boot];
        let (whole, part) = (sketch().fill(&boots).unwrap(), part.fill(&boots).unwrap());
        assert!(!whole.claims.is_empty() && !whole.references.is_empty());
        assert!(part.claims.is_empty() && part.references.is_empty());
        assert_eq!((whole.setting.evict.as_str(), part.setting.evict.as_str()), ("all", "fraction:0.5"));
    }

    #[test]
    fn samples_know_their_boot_and_repetitions_count_on_over_boots() {
        let [mut part] = parts();
        part.boot = Boot { system: System::Linux, modes: vec![Mode::LinuxAsync], repetitions: 2..3 };
        part.number = 7;
        (part.record.samples[0].sample.mode, part.record.samples[0].sample.repetition) =
            (Mode::LinuxAsync, 0);
        let document = sketch().fill(&[part]).unwrap();
        let sample = &document.samples[0];
        assert_eq!((sample.mode, sample.repetition, sample.boot), (Mode::LinuxAsync, 2, 7));
    }

    #[test]
    fn a_document_is_written_whole_and_the_one_before_is_kept() {
        let scratch = dirs::scratch("document-test").unwrap();
        let first = sketch().fill(&parts()).unwrap();
        let second = Document { samples: vec![], ..first.clone() };
        let file = write(&first, scratch.path()).unwrap();
        write(&second, scratch.path()).unwrap();
        let read = |path: &Path| serde_json::from_slice::<Document>(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read(&file), second);
        assert_eq!(read(&scratch.path().join(PREVIOUS)), first);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
        // An error in a sample has its line.
        assert_eq!(
            text(&first).unwrap().lines().filter(|line| line.contains("ms_per_page\":2.5")).count(),
            1
        );
    }
}
