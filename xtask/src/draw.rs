//! `cargo xtask report`: what is drawn of experiments' documents.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use apf_report::document::Document;
use apf_report::terminal::Look;
use apf_report::{text, write};
use clap::{Args, ValueEnum};

use crate::dirs;

/// The document's name in its folder.
const DOCUMENT: &str = "report.json";

/// `cargo xtask report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Documents, or folders with documents in them or one below [default: target/apf/experiments]
    #[arg(value_name = "DIR|FILE")]
    places: Vec<PathBuf>,
    /// What is made
    #[arg(long, value_delimiter = ',', default_value = "html,text")]
    format: Vec<Format>,
    /// Folder for what is made [default: that of each document]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Everything on one self-contained page: report.html
    Html,
    /// The page's pictures alone: svg/
    Svg,
    /// One row a sample: samples.csv
    Csv,
    /// HdrHistogram's percentiles: hgrm/
    Hgrm,
    /// Single faults as spans, for Perfetto or Chrome: trace.json
    Trace,
    /// A summary here
    Text,
}

/// `cargo xtask report`
///
/// # Errors
/// There is no document, one cannot be used, or something cannot be written.
pub fn run(args: &ReportArgs) -> Result<()> {
    let files = find(&args.places)?;
    // All are read before anything is written.
    let documents: Vec<(PathBuf, Document)> =
        files.into_iter().map(|file| Ok((file.clone(), read(&file)?))).collect::<Result<_>>()?;
    let several = documents.len() > 1;
    for (file, document) in &documents {
        let beside = file.parent().unwrap_or(Path::new("."));
        let folder = match &args.out {
            None => beside.to_path_buf(),
            Some(out) if several => out.join(beside.file_name().unwrap_or_default()),
            Some(out) => out.clone(),
        };
        for format in &args.format {
            make(document, *format, &folder)?;
        }
    }
    Ok(())
}

fn make(document: &Document, format: Format, folder: &Path) -> Result<()> {
    let format = match format {
        Format::Html => write::Format::Html,
        Format::Svg => write::Format::Svg,
        Format::Csv => write::Format::Csv,
        Format::Hgrm => write::Format::Hgrm,
        Format::Trace => write::Format::Trace,
        Format::Text => {
            println!("{}", text::summary(document, look()));
            return Ok(());
        }
    };
    let written = document.write(format, folder)?;
    match written.as_slice() {
        [] => println!("{}: nothing was recorded for {}", document.experiment.name, name(format)),
        [file] => println!("{}: {}", document.experiment.name, file.display()),
        [first, ..] => {
            let folder = first.parent().unwrap_or(folder);
            println!("{}: {} files in {}", document.experiment.name, written.len(), folder.display());
        }
    }
    Ok(())
}

const fn name(format: write::Format) -> &'static str {
    match format {
        write::Format::Html => "a page",
        write::Format::Svg => "pictures",
        write::Format::Csv => "a table",
        write::Format::Hgrm => "distributions",
        write::Format::Trace => "a trace",
    }
}

/// Reads and checks a document.
///
/// # Errors
/// It cannot be used; the error says where it is wrong.
pub fn read(file: &Path) -> Result<Document> {
    Ok(Document::read(file)?)
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
