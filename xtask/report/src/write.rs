//! Files beside the document, each in one piece or not at all.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::document::Document;
use crate::{csv, hgrm, html, trace};

/// What can be made of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Everything on one page: `report.html`.
    Html,
    /// The page's pictures alone: `svg/`.
    Svg,
    /// One row a sample: `samples.csv`.
    Csv,
    /// HdrHistogram's percentiles, a file for each distribution: `hgrm/`.
    Hgrm,
    /// Single faults as spans, for Perfetto or Chrome: `trace.json`.
    Trace,
}

/// A file could not be written, or an old one not removed.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", file.display())]
pub struct WriteError {
    file: PathBuf,
    source: std::io::Error,
}

impl Document {
    /// Writes a format into a folder; what was written, nothing if the document has nothing for it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, format: Format, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
        match format {
            Format::Html => {
                put(folder.join("report.html"), html::page(self).as_bytes()).map(|file| vec![file])
            }
            Format::Svg => all(folder.join("svg"), &html::pictures::pictures(self)),
            Format::Csv => put(folder.join("samples.csv"), &csv::table(self)).map(|file| vec![file]),
            Format::Hgrm => all(folder.join("hgrm"), &hgrm::files(self)),
            Format::Trace => {
                let trace = trace::trace(self);
                trace.iter().map(|text| put(folder.join("trace.json"), text.as_bytes())).collect()
            }
        }
    }
}

/// Writes files, named, into a folder, and removes those of an earlier document.
fn all(folder: PathBuf, files: &[(String, String)]) -> Result<Vec<PathBuf>, WriteError> {
    let written: Vec<PathBuf> =
        files.iter().map(|(name, text)| put(folder.join(name), text.as_bytes())).collect::<Result<_, _>>()?;
    let Some(extension) = written.first().and_then(|file| file.extension()) else { return Ok(written) };
    let earlier = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for file in earlier.filter(|file| file.extension() == Some(extension) && !written.contains(file)) {
        fs::remove_file(&file).map_err(|source| WriteError { file, source })?;
    }
    Ok(written)
}

/// Writes beside the file and renames, so that an old one is replaced by a whole one.
fn put(file: PathBuf, content: &[u8]) -> Result<PathBuf, WriteError> {
    let mut new = OsString::from(&file);
    new.push(".new");
    let written = fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))
        .and_then(|()| fs::write(&new, content))
        .and_then(|()| fs::rename(&new, &file));
    match written {
        Ok(()) => Ok(file),
        Err(source) => Err(WriteError { file, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn files_of_an_earlier_document_do_not_stay() {
        let folder = std::env::temp_dir().join(format!("apf-report-{}", std::process::id()));
        let document = example::small().document();
        let first = document.write(Format::Hgrm, &folder).unwrap();
        fs::write(folder.join("hgrm/notes.txt"), "mine").unwrap();
        fs::write(folder.join("hgrm/of-an-earlier-document.hgrm"), "old").unwrap();
        assert_eq!(document.write(Format::Hgrm, &folder).unwrap(), first);
        let found = fs::read_dir(folder.join("hgrm")).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, first.len() + 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = example::small().document().write(Format::Csv, Path::new("/proc/nothing")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/nothing/samples.csv: "), "{error}");
    }
}
