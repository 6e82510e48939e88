//! `cargo xtask machines`: the page of the files that were sent in, for `docs/results/machines.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use apf_report::Report;
use apf_report::markdown::{escaped, section};
use clap::Args;

use super::file::Submission;
use super::machine::Machine;
use crate::dirs;

const HEAD: &str = "\
# Machines

Figures of other machines, one section each: the median of the repetitions, with the smallest and
the largest. `cargo xtask machines` made this page from the files in the folder `machines`
beside it.

To send yours in, on a machine with KVM:

    cargo xtask probe                                              # does its KVM run the guest?
    cargo xtask experiment all --host native --quick --submit FILE.json.gz

and attach the file to an issue, or add it to that folder in a pull request. It has the documents
of the run without single faults, versions, and a description of the machine: processor, memory,
kernel, and the settings of KVM, clock, frequency, huge pages and mitigations. It names neither
host nor user, and no folder or file; option values that could are left out. It is JSON: look
before you send it.
";
const NONE: &str = "
No file from real hardware has been received yet. All figures so far were measured in the
[lab](../lab.md), an emulated machine: [experiments](experiments.md), [cost of a fault](performance.md).
";
const EMULATED: &str = "\
**These figures are of an emulated machine, not of real hardware**: their times mean nothing, only
ratios and counts do.
";

/// `cargo xtask machines`
#[derive(Debug, Args)]
pub struct MachinesArgs {
    /// Files that `--submit` made, or folders of such files [default: docs/results/machines]
    #[arg(value_name = "DIR|FILE")]
    places: Vec<PathBuf>,
}

/// `cargo xtask machines`: prints the page.
pub fn run(args: &MachinesArgs) -> Result<()> {
    let own = dirs::root().join("docs/results/machines");
    let places = match args.places.as_slice() {
        [] if own.is_dir() => vec![own],
        places => places.to_vec(),
    };
    let mut files = Vec::new();
    for place in places {
        if place.is_dir() {
            files.extend(below(&place)?);
        } else {
            files.push(place);
        }
    }
    let submissions = files.iter().map(|file| Submission::read(file)).collect::<Result<Vec<_>>>()?;
    let page = page(&submissions);
    println!("{}", page.trim_end());
    Ok(())
}

/// The files of a folder, sorted.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<_>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut files = read().with_context(|| format!("cannot read {}", folder.display()))?;
    files.sort();
    Ok(files)
}

/// Real machines first.
fn page(submissions: &[Submission<Report>]) -> String {
    let (real, emulated): (Vec<_>, Vec<_>) = submissions.iter().partition(|it| it.machine.is_some());
    let mut page = HEAD.to_owned();
    if real.is_empty() {
        page += NONE;
    }
    for submission in real.into_iter().chain(emulated) {
        page.push('\n');
        page += &machine(submission);
    }
    page
}

/// The section of one machine.
fn machine(submission: &Submission<Report>) -> String {
    let setting = &submission.documents[0].setting;
    let mut text = match &submission.machine {
        Some(machine) => format!("## {}\n\n{}", escaped(&machine.processor), description(machine)),
        None => format!("## Emulated: {}\n\n{EMULATED}\n| | |\n|---|---|\n", escaped(&setting.processor)),
    };
    let mut row =
        |name: &str, value: &str| writeln!(text, "| {name} | {} |", escaped(value)).expect("a string");
    if submission.machine.is_none() {
        row("kernel", &setting.host_kernel);
    }
    let vmms = submission.documents.iter().map(|document| document.setting.vmm_version.as_str());
    let vmms: std::collections::BTreeSet<_> = vmms.collect();
    row("VMM", &vmms.into_iter().collect::<Vec<_>>().join(", "));
    let modified = if setting.git_modified { ", changed" } else { "" };
    let revision = setting.git_revision.as_deref().unwrap_or("unknown");
    row("hermit-apf", &format!("{}, revision {revision}{modified}", submission.version));
    row("measured", &setting.began);
    if !submission.failed.is_empty() {
        row("experiments that failed", &submission.failed.join(", "));
    }
    for document in &submission.documents {
        text.push('\n');
        text += &section(document, "###");
    }
    text
}

fn description(machine: &Machine) -> String {
    let Machine { sockets, cores, threads, memory_mib, .. } = machine;
    let mut rows = vec![
        ("processor".to_owned(), format!("{sockets} sockets, {cores} cores, {threads} threads")),
        ("memory".to_owned(), format!("{memory_mib} MiB")),
        ("kernel".to_owned(), machine.kernel.clone()),
    ];
    rows.extend(machine.microcode.iter().map(|version| ("microcode".to_owned(), version.clone())));
    if machine.is_virtual {
        rows.push(("virtual".to_owned(), "this machine is itself a VM".to_owned()));
    }
    rows.extend(machine.settings.clone());
    // A weakness that the processor does not have is no news.
    let answers = machine.mitigations.iter().filter(|(_, answer)| *answer != "Not affected");
    let answers: Vec<_> = answers.map(|(name, answer)| format!("{name}: {answer}")).collect();
    rows.push((
        "mitigations".to_owned(),
        if answers.is_empty() { "none".into() } else { answers.join("; ") },
    ));
    let rows: String =
        rows.iter().map(|(name, value)| format!("| {} | {} |\n", escaped(name), escaped(value))).collect();
    format!("| | |\n|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::{document, read_back};
    use super::*;

    #[test]
    fn the_page_of_the_documents_is_made_from_the_files_there() {
        let folder = dirs::root().join("docs/results/machines");
        let files = if folder.is_dir() { below(&folder).unwrap() } else { vec![] };
        let submissions: Vec<_> = files.iter().map(|file| Submission::read(file).unwrap()).collect();
        // What is in the documents was measured on real hardware.
        assert!(submissions.iter().all(|submission| submission.machine.is_some()));
        let there = fs::read_to_string(dirs::root().join("docs/results/machines.md")).unwrap();
        assert!(there == page(&submissions), "cargo xtask machines > docs/results/machines.md");
    }

    #[test]
    fn a_machine_has_a_section_with_its_description_and_figures() {
        let real = Machine {
            processor: "Example 9000".into(),
            settings: [("kvm.halt_poll_ns".to_owned(), "200000".to_owned())].into(),
            mitigations: [("l1tf", "Not affected"), ("mds", "Mitigation: x | y")]
                .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
                .into(),
            ..Machine::default()
        };
        let native = document("native", "Example 9000");
        let native = Submission::new(Some(real), vec!["halt".into()], vec![native]);
        let lab = Submission::new(None, vec![], vec![document("lab", "QEMU TCG CPU")]);
        let all = page(&[read_back(&lab), read_back(&native)]);
        let (real, emulated) = all.split_once("## Emulated: QEMU TCG CPU").expect("both, the real one first");
        for part in [
            "## Example 9000",
            "| kvm.halt\\_poll\\_ns | 200000 |",
            "| mitigations | mds: Mitigation: x \\| y |",
            "| experiments that failed | halt |",
            "### overlap",
            "(",
        ] {
            assert!(real.contains(part), "{part} is missing in\n{real}");
        }
        assert!(!all.contains("No file from real hardware"));
        assert!(emulated.contains("not of real hardware") && emulated.contains("### overlap"));
        assert!(!emulated.contains("mitigations"));
        assert!(page(&[read_back(&lab)]).contains("No file from real hardware"));
    }
}
