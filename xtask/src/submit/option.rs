//! `--submit FILE` of other verbs.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use apf_report::Report;
use apf_report::document::Document;
use clap::Args;

use super::file::{self, Submission, is_emulated};
use super::machine::Machine;
use super::private::Private;

/// A file to be sent in.
#[derive(Clone, Debug, Default, Args)]
pub struct SubmitOption {
    /// Pack the documents and a description of the machine into a new file to be sent in: JSON, in
    /// gzip if its name ends in .gz. It names neither host nor user nor folders
    #[arg(long, value_name = "FILE")]
    submit: Option<PathBuf>,
}

impl SubmitOption {
    /// Checks early that the file can be written.
    pub fn check(&self) -> Result<()> {
        self.submit.as_deref().map_or(Ok(()), file::check)
    }

    /// Packs the documents in these files, and names those of experiments that failed.
    ///
    /// # Errors
    /// A document was not measured on this machine, or the file cannot be written.
    pub fn write(&self, documents: &[PathBuf], failed: &[&str]) -> Result<()> {
        let Some(file) = &self.submit else { return Ok(()) };
        let reports = documents.iter().map(|file| Report::read(file)).collect::<Result<Vec<_>, _>>()?;
        let documents = reports.iter().map(|report| (**report).clone()).collect();
        let failed = failed.iter().map(|&name| name.to_owned()).collect();
        let packed = pack(Machine::read(Path::new("/")), failed, documents, &Private::here())?;
        packed.write(file)?;
        let (count, left_out) = (packed.documents.len(), packed.faults_left_out);
        let kind = if packed.machine.is_none() { "of the lab, not of this machine, " } else { "" };
        println!(
            "{}: {count} documents {kind}to be sent in; {left_out} single faults are left out",
            file.display()
        );
        Ok(())
    }
}

/// Makes the submission of documents that were measured on this machine, or in its lab.
fn pack(
    mut machine: Machine,
    failed: Vec<String>,
    mut documents: Vec<Document>,
    private: &Private,
) -> Result<Submission<Document>> {
    ensure!(!documents.is_empty(), "there is no document to be sent in");
    let emulated = documents.iter().filter(|document| is_emulated(document)).count();
    ensure!(
        emulated == 0 || emulated == documents.len(),
        "{emulated} of {} documents are of the lab: send figures of real hardware by themselves",
        documents.len()
    );
    for document in &documents {
        let (name, setting) = (&document.experiment.name, &document.setting);
        ensure!(
            emulated > 0
                || (&setting.processor, &setting.host_kernel) == (&machine.processor, &machine.kernel),
            "{name} was measured on another machine or kernel ({}, {}): pack it there",
            setting.processor,
            setting.host_kernel
        );
    }
    for document in &mut documents {
        private.reduce(&mut document.setting, &document.experiment.name);
    }
    private.reduce_machine(&mut machine);
    Ok(Submission::new((emulated == 0).then_some(machine), failed, documents))
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::document;
    use super::*;

    fn machine() -> Machine {
        Machine { processor: "Example 9000".into(), kernel: "Linux 6.12.9".into(), ..Machine::default() }
    }

    fn native() -> Document {
        let mut document = document("native", "Example 9000");
        document.setting.host_kernel = "Linux 6.12.9".into();
        document
    }

    #[test]
    fn only_documents_of_this_machine_and_one_kind_of_host_are_packed() {
        let pack = |documents| pack(machine(), vec![], documents, &Private::default());
        let packed = pack(vec![native(), native()]).unwrap();
        assert_eq!((packed.machine, packed.documents.len()), (Some(machine()), 2));
        let lab = || document("lab", "Example 1");
        let error = pack(vec![native(), lab()]).unwrap_err().to_string();
        assert!(error.contains("1 of 2 documents are of the lab"), "{error}");
        let error = pack(vec![document("native", "Example 1")]).unwrap_err().to_string();
        assert!(error.contains("another machine or kernel (Example 1, "), "{error}");
        assert!(pack(vec![]).is_err());
    }

    #[test]
    fn figures_of_an_emulated_machine_are_never_those_of_a_real_one() {
        // A driver inside the lab believes to be on real hardware.
        for (host, processor) in [("lab", "Example 9000"), ("native", "QEMU TCG CPU version 2.5+")] {
            let machine = Machine { processor: processor.into(), ..machine() };
            let packed = pack(machine, vec![], vec![document(host, processor)], &Private::default()).unwrap();
            assert_eq!(packed.machine, None);
        }
    }

    /// Would fail if a file told whose machine it came from.
    #[test]
    fn nothing_private_is_packed() {
        let here = Private::here();
        let mut document = native();
        let (host, user) = here.example();
        let folder = std::env::current_dir().unwrap().display().to_string();
        let home = std::env::var("HOME").unwrap_or_else(|_| "/home/nobody".into());
        document.setting.command =
            format!("cargo xtask experiment run overlap --out {folder}/x --vmm-arg={user} {home} -- {host}");
        document.setting.page_latency = format!("replay:{home}/times");
        document.setting.vmm_version = format!("QEMU 10.0 ({user}@{host}, {folder})");
        let packed = pack(machine(), vec![], vec![document], &here).unwrap();
        let setting = &packed.documents[0].setting;
        let texts = [&setting.command, &setting.page_latency, &setting.vmm_version];
        for private in [&host, &user, &folder, &home] {
            assert!(texts.iter().all(|text| !says(text, private)), "{private}: {texts:?}");
        }
        assert_eq!(setting.vmm_version, "QEMU 10.0 (…@…, …)");
        // Nor does the description of this very machine.
        let mut real = Machine::read(Path::new("/"));
        here.reduce_machine(&mut real);
        let text = serde_json::to_string(&real).unwrap();
        assert!(!says(&text, &host) && !says(&text, &folder), "{text}");
    }

    /// Whether a text has this word or path, and not only as a part of another word.
    fn says(text: &str, word: &str) -> bool {
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        text.match_indices(word).any(|(at, _)| {
            !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
        })
    }
}
