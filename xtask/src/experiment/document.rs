//! The parts of a document that are not samples, and the file.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use apf_report::document::{Boot as End, Document, Experiment, Metric, Parameter, SCHEMA, Setting};
use apf_vocabulary::Sample;

use super::boots::{Boot, Part};
use super::definition::Definition;
use crate::drive::record::Record;
use crate::output::{self, Earlier};
use crate::process::Cmd;

/// The document's file.
const FILE: &str = "report.json";
/// Name of the previous document, kept for comparison.
const PREVIOUS: &str = "report.previous.json";

/// The parts of a document that are known before the guest starts.
#[derive(Clone)]
pub struct Sketch {
    pub definition: &'static Definition,
    /// Without the fields that [`fill`](Self::fill) takes from the record.
    pub setting: Setting,
}

/// Returns this checkout's revision, if it is one, and true if it was changed since.
pub fn revision() -> (Option<String>, bool) {
    let git = |args: &[&str]| Cmd::new("git").args(args).cwd(crate::dirs::root()).quiet().capture().ok();
    let modified = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.trim().is_empty());
    (git(&["rev-parse", "HEAD"]).map(|name| name.trim().to_owned()), modified)
}

/// Returns the command line of this program.
pub fn command() -> String {
    format!("cargo xtask {}", env::args().skip(1).collect::<Vec<_>>().join(" "))
}

impl Sketch {
    /// Makes the document of the recorded samples; `None` if there is none yet.
    pub fn fill(&self, parts: &[Part]) -> Option<Document> {
        let record = &parts.iter().find(|part| !part.record.samples.is_empty())?.record;
        let ends = parts.iter().filter_map(|part| part.record.end).collect();
        let mut samples: Vec<_> = parts
            .iter()
            .flat_map(|part| part.record.samples.iter().map(|one| sample(&part.boot, part.number, one)))
            .collect();
        // Experiments share workloads of the guest, which measure more than one question asks.
        let asked = |name: &str| self.definition.metrics.iter().any(|metric| metric.0 == name);
        samples.iter_mut().for_each(|sample| sample.metrics.retain(|name, _| asked(name)));
        Some(self.fill_with(samples, ends, record))
    }

    /// Makes the document of these samples and ends of boots, on the record's machine.
    pub fn fill_with(&self, samples: Vec<Sample>, boots: Vec<End>, record: &Record) -> Document {
        let (definition, setting) = (self.definition, self.setting.clone());
        // Both assume that all memory is evicted: present pages cost nothing.
        let whole = setting.evict == "all";
        let claims = definition.claims.iter().filter_map(|claim| claim(&samples));
        Document {
            schema: SCHEMA,
            experiment: experiment(definition),
            references: if whole { (definition.references)(&samples, setting.cores) } else { vec![] },
            claims: if whole { claims.collect() } else { vec![] },
            setting: Setting {
                processor: record.machine.processor.clone(),
                host_kernel: record.machine.kernel.clone(),
                vmm_version: record.machine.vmm_version.clone(),
                tsc_mhz: record.tsc_mhz,
                ..setting
            },
            samples,
            boots,
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
pub fn sample(boot: &Boot, number: u32, sample: &Sample) -> Sample {
    Sample { boot: number, repetition: boot.repetitions.start + sample.repetition, ..sample.clone() }
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

/// Checks that a document can be written into `folder`.
pub fn check(folder: &Path) -> Result<()> {
    output::check(folder, &[FILE, PREVIOUS])
}

/// Writes the document into `folder`, in one piece; the earlier one stays under another name.
pub fn write(document: &Document, folder: &Path) -> Result<PathBuf> {
    let text = text(document).context("plain data")?;
    let mut files = vec![(FILE.to_owned(), text.into_bytes())];
    files.extend(fs::read(folder.join(FILE)).ok().map(|earlier| (PREVIOUS.to_owned(), earlier)));
    output::write(folder, &files, Earlier::Keep)?;
    Ok(folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use crate::dirs;
    use crate::drive::record::Machine;
    use crate::drive::spec::System;
    use apf_vocabulary::grid::Point;
    use apf_vocabulary::{Histogram, Mode};

    fn parts() -> [Part; 1] {
        let sample = Sample {
            repetition: 3,
            metrics: Point::from([("ms_per_page".into(), 2.5)]),
            counts: [("not_present".into(), 9)].into(),
            histograms: vec![Histogram { name: "halt total".into(), per_us: 2000.0, buckets: vec![(7, 1)] }],
            faults: vec![(0, 7, 0x1000, true, [1, 2, 3, 4, 5]).into()],
            ..Sample::new(Mode::Async, Point::from([("tasks".into(), 1.0), ("page_latency_ms".into(), 1.0)]))
        };
        let machine = Machine { processor: "p".into(), kernel: "k".into(), vmm_version: "v".into() };
        let samples = vec![sample];
        let boot = Boot { system: System::Hermit, modes: vec![Mode::Async], repetitions: 0..5 };
        let end = End { compared_pages: 4096, ..End::default() };
        [Part { boot, number: 0, record: Record { machine, tsc_mhz: 2000, samples, end: Some(end) } }]
    }

    fn sketch() -> Sketch {
        let setting = Setting { vmm: "uhyve".into(), cores: 1, evict: "all".into(), ..Setting::default() };
        Sketch { definition: catalogue::find("overlap").unwrap(), setting }
    }

    #[test]
    fn a_document_has_the_samples_and_the_setting_that_were_recorded() {
        let document = sketch().fill(&parts()).unwrap();
        let sample = &document.samples[0];
        assert_eq!((sample.mode, sample.repetition, sample.counts["not_present"]), (Mode::Async, 3, 9));
        assert_eq!(sample.histograms[0].buckets, [(7, 1)]);
        assert_eq!((sample.faults[0].token, sample.faults[0].running), (7, 5));
        assert_eq!(document.boots[0].compared_pages, 4096);
        let setting = &document.setting;
        assert_eq!((setting.vmm.as_str(), setting.processor.as_str(), setting.tsc_mhz), ("uhyve", "p", 2000));
        assert_eq!(sketch().fill(&[]), None);
    }

    #[test]
    fn a_document_has_the_metrics_that_its_question_names() {
        let [mut part] = parts();
        part.record.samples[0].metrics.insert("pages_per_second".into(), 400.0);
        let document = sketch().fill(&[part]).unwrap();
        assert_eq!(document.samples[0].metrics, Point::from([("ms_per_page".into(), 2.5)]));
        apf_report::Report::new(document).unwrap();
    }

    #[test]
    fn documents_of_partial_evictions_have_neither_claims_nor_references() {
        let mut part = sketch();
        part.setting.evict = "fraction:0.5".into();
        let sample = |mode| {
            let [mut part] = parts();
            let mut sample = part.record.samples.remove(0);
            sample.mode = mode;
            sample.metrics.insert("fault_cost_ms".into(), 0.5);
            sample
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
        (part.record.samples[0].mode, part.record.samples[0].repetition) = (Mode::LinuxAsync, 0);
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
        // Both, and the list of them.
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 3);
        // An error in a sample has its line.
        assert_eq!(
            text(&first).unwrap().lines().filter(|line| line.contains("ms_per_page\":2.5")).count(),
            1
        );
    }
}
