//! `cargo xtask report`: pages, tables and summaries of experiments' documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use apf_report::terminal::Look;
use apf_report::{Report, csv, hgrm, html, text, trace};
use clap::{Args, ValueEnum};

use crate::dirs;
use crate::output::{self, Earlier, File};
use crate::process::Step;
use crate::submit::SubmitOption;

/// The document's name in its folder.
const DOCUMENT: &str = "report.json";

/// `cargo xtask report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Documents, or folders with documents in them or one below [default: target/apf/experiments]
    #[arg(value_name = "DIR|FILE")]
    places: Vec<PathBuf>,
    /// Formats to write or print
    #[arg(long, value_delimiter = ',', default_value = "html,text")]
    format: Vec<Format>,
    /// Folder for the files [default: that of each document]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    submit: SubmitOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Everything on one self-contained page: report.html
    Html,
    /// The page's pictures alone: svg/
    Svg,
    /// One row for each sample: samples.csv
    Csv,
    /// HdrHistogram's percentiles, a file for each distribution: hgrm/
    Hgrm,
    /// Single faults as spans, for Perfetto or Chrome: trace.json
    Trace,
    /// A summary, printed
    Text,
}

/// `cargo xtask report`
pub fn run(args: &ReportArgs) -> Result<()> {
    args.submit.check()?;
    let mut files = find(&args.places)?;
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    let folders = folders(args, &files)?;
    // All are read before anything is written.
    let reports = files.iter().map(|file| Report::read(file)).collect::<Result<Vec<_>, _>>()?;
    for (report, folder) in reports.iter().zip(folders) {
        for format in &args.format {
            make(report, *format, &folder)?;
        }
    }
    args.submit.write(&files, &[])
}

/// The folder for the files of each document.
///
/// # Errors
/// One would get the files of two.
fn folders(args: &ReportArgs, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut owners: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut folders = Vec::new();
    for file in files {
        let real = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
        let beside = real.parent().unwrap_or(Path::new("/"));
        let folder = match &args.out {
            Some(out) if files.len() > 1 => out.join(beside.file_name().unwrap_or_default()),
            Some(out) => out.clone(),
            None => beside.to_path_buf(),
        };
        let other = owners.insert(folder.clone(), file);
        if let Some(other) = other.filter(|_| args.format.iter().any(|format| *format != Format::Text)) {
            bail!(
                "{} and {} would both be drawn into {}: draw one after the other, each with its own --out",
                other.display(),
                file.display(),
                folder.display()
            );
        }
        folders.push(folder);
    }
    Ok(folders)
}

fn make(report: &Report, format: Format, folder: &Path) -> Result<()> {
    let name = &report.experiment.name;
    let step = Step::start(format!("drawing {name}, {} samples", report.samples.len()));
    let texts = |files: Vec<(String, String)>| files.into_iter().map(|(name, text)| (name, text.into()));
    let one = |name: &str, bytes: Vec<u8>| vec![(name.to_owned(), bytes)];
    let (below, files): (&str, Vec<File>) = match format {
        Format::Html => ("", one("report.html", html::page(report).into())),
        Format::Svg => ("svg", texts(html::pictures::pictures(report)).collect()),
        Format::Csv => ("", one("samples.csv", csv::table(report))),
        Format::Hgrm => ("hgrm", texts(hgrm::files(report)).collect()),
        Format::Trace => {
            ("", trace::trace(report).map_or_else(Vec::new, |text| one("trace.json", text.into())))
        }
        Format::Text => {
            let summary = text::summary(report, look());
            drop(step);
            println!("{summary}");
            return Ok(());
        }
    };
    let folder = if below.is_empty() { folder.to_path_buf() } else { folder.join(below) };
    let earlier = if below.is_empty() { Earlier::Keep } else { Earlier::Remove };
    let written = if files.is_empty() { Vec::new() } else { output::write(&folder, &files, earlier)? };
    drop(step);
    match written.as_slice() {
        [] => println!("{name}: the document has no {}", contents(format)),
        [file] => println!("{name}: {}", file.display()),
        files => println!("{name}: {} files in {}", files.len(), folder.display()),
    }
    Ok(())
}

/// Parts of a document that a format shows.
const fn contents(format: Format) -> &'static str {
    match format {
        Format::Html | Format::Text | Format::Csv => "samples",
        Format::Svg => "values to draw",
        Format::Hgrm => "distributions",
        Format::Trace => "single faults",
    }
}

/// Colours on a terminal, unless they are not wanted.
pub fn look() -> Look {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stdout().is_terminal() { Look::Coloured } else { Look::Plain }
}

/// The document that a place names: a file, or a folder's.
pub fn document_of(place: &Path) -> PathBuf {
    if place.is_dir() { place.join(DOCUMENT) } else { place.to_path_buf() }
}

fn find(places: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if places.is_empty() {
        let all = dirs::apf().join("experiments");
        let found = if all.is_dir() { below(&all)? } else { Vec::new() };
        if found.is_empty() {
            bail!(
                "no experiment has been run yet: `cargo xtask experiment run NAME` writes {}",
                all.display()
            );
        }
        return Ok(found);
    }
    let mut files = Vec::new();
    for place in places {
        let file = document_of(place);
        if place.is_dir() && !file.is_file() {
            let found = below(place)?;
            if found.is_empty() {
                bail!("{} has no {DOCUMENT}, nor has a folder in it", place.display());
            }
            files.extend(found);
        } else {
            files.push(file);
        }
    }
    Ok(files)
}

/// The documents of the folders in a folder, sorted.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot read {}", folder.display()))?.path().join(DOCUMENT);
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
