//! The file that is sent in: JSON, or JSON in gzip if its name ends in `.gz`.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use apf_report::Report;
use apf_report::document::Document;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;
use crate::output::{self, Existing};

/// Version of the layout.
const LAYOUT: u64 = 1;
/// Largest content that is read; gzip makes little of much.
const LARGEST: u64 = 256 << 20;

/// Documents of one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission<D> {
    /// [`LAYOUT`].
    pub submission: u64,
    /// This project's version.
    pub version: String,
    /// The machine; `None` for the lab, which every machine emulates alike.
    pub machine: Option<Machine>,
    /// Experiments that were run as well and failed.
    pub failed: Vec<String>,
    /// Number of single faults that were recorded and are left out of the samples.
    pub faults_left_out: usize,
    pub documents: Vec<D>,
}

/// Whether a document's figures are those of an emulated machine, wherever its guest ran.
pub fn is_emulated(document: &Document) -> bool {
    document.setting.host != "native" || document.setting.processor.starts_with("QEMU TCG")
}

impl Submission<Document> {
    /// Makes the submission of these documents; single faults are removed.
    pub fn new(machine: Option<Machine>, failed: Vec<String>, mut documents: Vec<Document>) -> Self {
        let samples = documents.iter_mut().flat_map(|document| &mut document.samples);
        let faults_left_out = samples.map(|sample| std::mem::take(&mut sample.faults).len()).sum();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { submission: LAYOUT, version, machine, failed, faults_left_out, documents }
    }

    /// Writes it to `file`, complete or not at all.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        check(file)?;
        output::write_file(file, Existing::Stays, |mut to| {
            let text = serde_json::to_vec(self)?;
            if file.extension().is_some_and(|extension| extension == "gz") {
                let mut packed = GzEncoder::new(to, Compression::best());
                packed.write_all(&text)?;
                packed.finish().map(|_| ())
            } else {
                to.write_all(&text)
            }
        })
    }
}

/// Checks that a submission can be written to `file`.
///
/// # Errors
/// Something is there, or its folder is not.
pub fn check(file: &Path) -> Result<()> {
    ensure!(
        file.symlink_metadata().is_err(),
        "{} exists, and nothing is overwritten: choose another --submit",
        file.display()
    );
    ensure!(output::folder_of(file).is_dir(), "{} has no folder to be written into", file.display());
    Ok(())
}

impl Submission<Report> {
    /// Reads a submission and checks its documents.
    ///
    /// # Errors
    /// In one line, with the file: it cannot be read, or is none.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut text = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let content = GzDecoder::new(bytes.as_slice()).take(LARGEST + 1).read_to_end(&mut text);
            content.with_context(|| format!("cannot unpack {}", file.display()))?;
        } else {
            text = bytes;
        }
        ensure!(text.len() as u64 <= LARGEST, "{}: more than {} MiB", file.display(), LARGEST >> 20);
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &[u8]) -> Result<Self> {
        let name = file.display();
        let value: Value = serde_json::from_slice(text).with_context(|| format!("{name}: not JSON"))?;
        match value.get("submission").and_then(Value::as_u64) {
            None => bail!("{name}: not a file that `--submit` made"),
            Some(LAYOUT) => {}
            Some(other) => bail!("{name}: layout {other}, this version reads {LAYOUT}"),
        }
        let Submission { submission, version, machine, failed, faults_left_out, documents } =
            serde_json::from_value::<Submission<Value>>(value)
                .with_context(|| format!("{name}: not a file that `--submit` made"))?;
        let report = |document: &Value| Report::parse(file, document.to_string().as_bytes());
        let documents = documents.iter().map(report).collect::<Result<Vec<_>, _>>()?;
        ensure!(!documents.is_empty(), "{name}: it has no document");
        ensure!(
            machine.is_some() || documents.iter().all(|document| is_emulated(document)),
            "{name}: figures of a real machine, which it does not describe"
        );
        Ok(Self { submission, version, machine, failed, faults_left_out, documents })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::dirs;

    /// A made-up document as one of this place would be.
    pub fn document(host: &str, processor: &str) -> Document {
        let file = dirs::root().join("tests/data/made-up.json");
        let mut document = (*Report::read(&file).unwrap()).clone();
        (document.setting.host, document.setting.processor) = (host.into(), processor.into());
        document
    }

    /// A submission as another program reads it.
    pub fn read_back(submission: &Submission<Document>) -> Submission<Report> {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("x.json");
        submission.write(&file).unwrap();
        Submission::read(&file).unwrap()
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let whole = document("native", "Example 9000");
        let faults: usize = whole.samples.iter().map(|sample| sample.faults.len()).sum();
        let packed = Submission::new(Some(Machine::default()), vec!["halt".into()], vec![whole]);
        let sizes = ["a.json", "a.json.gz"].map(|name| {
            let file = scratch.path().join(name);
            packed.write(&file).unwrap();
            let read = Submission::read(&file).unwrap();
            assert!(*read.documents[0] == packed.documents[0]);
            assert_eq!((read.failed, read.machine), (packed.failed.clone(), packed.machine.clone()));
            assert!(faults > 0 && read.faults_left_out == faults);
            let before = fs::read(&file).unwrap();
            let error = packed.write(&file).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("nothing is overwritten"), "{error}");
            assert!(fs::read(&file).unwrap() == before);
            before.len()
        });
        assert!(sizes[1] * 2 < sizes[0], "{sizes:?}");
        let nowhere = packed.write(&scratch.path().join("none/a.json")).unwrap_err().to_string();
        assert!(nowhere.contains("no folder"), "{nowhere}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn other_files_are_refused_in_one_line() {
        let packed = Submission::new(None, vec![], vec![document("lab", "Example")]);
        let text = serde_json::to_string(&packed).unwrap();
        let cases = [
            (String::new(), "not JSON"),
            (text[..text.len() / 2].into(), "not JSON"),
            ("\u{1f}\u{8b}".into(), "not JSON"),
            ("[1]".into(), "not a file that `--submit` made"),
            (text.replacen("\"submission\":1", "\"submission\":9", 1), "layout 9, this version reads 1"),
            (text.replacen("\"failed\"", "\"filed\"", 1), "unknown field `filed`"),
            (text.replacen("\"schema\":2", "\"schema\":3", 1), "newer version: schema 3"),
            (text.replacen("\"cores\":1", "\"cores\":-1", 1), "field setting.cores"),
            (text.replacen("\"host\":\"lab\"", "\"host\":\"native\"", 1), "does not describe"),
        ];
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("x.json");
        for (text, expected) in cases {
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", Submission::read(&file).unwrap_err());
            assert!(error.contains(expected) && error.contains("x.json"), "{expected}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        fs::write(&file, [0x1f, 0x8b, 0, 1]).unwrap();
        assert!(Submission::read(&file).unwrap_err().to_string().starts_with("cannot unpack"));
        assert!(Submission::read(scratch.path()).unwrap_err().to_string().starts_with("cannot read"));
    }
}
