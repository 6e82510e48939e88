//! Reading `report.json`, with errors that say where it is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::check::Impossible;
use crate::document::{Document, SCHEMA};

/// Why a file is not a document that can be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("cannot read {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("{}, line {line}, column {column}: not JSON: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// It is JSON, but nothing of ours.
    #[error("{}: not a report: {reason}", file.display())]
    NotAReport {
        /// The file.
        file: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// `cargo xtask check` writes documents of another kind.
    #[error(
        "{}: a report of checks ({experiment}), which has no samples; `cargo xtask run` and \
         `cargo xtask experiment run` write the reports that can be drawn and compared",
        file.display()
    )]
    OfChecks {
        /// The file.
        file: PathBuf,
        /// What was checked.
        experiment: String,
    },
    /// The layout is of a later version.
    #[error(
        "{}: made by a newer version: schema {found}, this one reads up to {SCHEMA}; \
         use the version that made it, or a later one",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// The layout is of an earlier version.
    #[error(
        "{}: made by an older version: schema {found}, this one reads {SCHEMA}; \
         repeat the experiment, or use the version that made it",
        file.display()
    )]
    Older {
        /// The file.
        file: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// A field is missing, unknown, or of the wrong kind.
    #[error("{}, line {line}, column {column}, field {field}: {reason}", file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// Path from the top: `samples[3].metrics`.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// Every field is of the right kind, but together they make no sense.
    #[error("{}, field {}: {}", file.display(), what.field, what.reason)]
    Impossible {
        /// The file.
        file: PathBuf,
        /// Which field, and why.
        what: Impossible,
    },
}

impl Document {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(file: &Path) -> Result<Self, ReadError> {
        let bytes = fs::read(file).map_err(|source| ReadError::File { file: file.into(), source })?;
        Self::parse(file, &bytes)
    }

    /// The same for content that was read already; `file` is for the errors.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn parse(file: &Path, json: &[u8]) -> Result<Self, ReadError> {
        let value: Value = serde_json::from_slice(json).map_err(|error| ReadError::Syntax {
            file: file.into(),
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        })?;
        check_kind(file, &value)?;
        let mut input = serde_json::Deserializer::from_slice(json);
        let document: Self = serde_path_to_error::deserialize(&mut input).map_err(|error| {
            let inner = error.inner();
            ReadError::Field {
                file: file.into(),
                line: inner.line(),
                column: inner.column(),
                field: error.path().to_string(),
                reason: reason(inner),
            }
        })?;
        document.check().map_err(|what| ReadError::Impossible { file: file.into(), what })?;
        Ok(document)
    }
}

/// Which kind of document, of which version? Asked first, since of another version every field
/// may differ.
fn check_kind(file: &Path, value: &Value) -> Result<(), ReadError> {
    let file = || file.to_path_buf();
    let Some(schema) = value.get("schema").and_then(Value::as_u64) else {
        let reason = "it has no `schema` that is a whole number".into();
        return Err(ReadError::NotAReport { file: file(), reason });
    };
    match value.get("experiment") {
        Some(Value::String(experiment)) => {
            Err(ReadError::OfChecks { file: file(), experiment: experiment.clone() })
        }
        _ if schema > SCHEMA.into() => Err(ReadError::Newer { file: file(), found: schema }),
        _ if schema < SCHEMA.into() => Err(ReadError::Older { file: file(), found: schema }),
        _ => Ok(()),
    }
}

/// serde_json's message without the place, which is told apart.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn told(json: &str) -> String {
        match Document::parse(Path::new("some/report.json"), json.as_bytes()) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    fn pretty() -> String {
        serde_json::to_string_pretty(&example::overlap(1)).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let document = Document::parse(Path::new("report.json"), pretty().as_bytes()).unwrap();
        assert!(document == example::overlap(1), "something was lost on the way");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Document::read(Path::new("/nonexistent/report.json")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/report.json: No such file"));
    }

    #[test]
    fn broken_json_is_told_by_line_and_column() {
        let cut = &pretty()[..2000];
        let line = cut.lines().count();
        assert!(told(cut).starts_with(&format!("some/report.json, line {line}, column ")), "{}", told(cut));
        assert_eq!(
            told("{\n  \"schema\": 2,\n}"),
            "some/report.json, line 3, column 1: not JSON: trailing comma"
        );
        assert!(told("").contains("line 1, column 0: not JSON: EOF"), "{}", told(""));
    }

    #[test]
    fn other_documents_are_told_apart() {
        assert!(told("[]").contains("not a report"));
        assert!(told("{\"schema\": \"two\"}").contains("not a report"));
        let of_checks = told("{\"schema\": 1, \"experiment\": \"contexts\", \"vmm\": \"uhyve\"}");
        assert!(of_checks.contains("a report of checks (contexts)"), "{of_checks}");
    }

    #[test]
    fn other_versions_are_told_apart_whatever_their_fields_are() {
        let newer = told("{\"schema\": 3, \"content\": []}");
        assert!(newer.contains("newer version: schema 3, this one reads up to 2"), "{newer}");
        let older = told("{\"schema\": 1, \"experiment\": {}}");
        assert!(older.contains("older version: schema 1, this one reads 2"), "{older}");
    }

    #[test]
    fn a_wrong_field_is_named_with_its_line() {
        let text = pretty();
        let at = text.find("\"cores\": 1").unwrap();
        let line = text[..at].lines().count();
        let wrong = told(&text.replace("\"cores\": 1", "\"cores\": \"one\""));
        assert!(wrong.contains(&format!("line {line}, column ")), "{wrong}");
        assert!(wrong.contains("field setting.cores: invalid type: string \"one\""), "{wrong}");
        let unknown = told(&text.replacen("\"repetition\"", "\"repitition\"", 1));
        assert!(unknown.contains("field samples[0].repitition: unknown field `repitition`"), "{unknown}");
        let mode = told(&text.replacen("\"mode\": \"async\"", "\"mode\": \"asink\"", 1));
        assert!(mode.contains(".mode: unknown variant `asink`, expected one of"), "{mode}");
    }

    #[test]
    fn a_number_beyond_all_bounds_is_refused() {
        let wrong = told(&pretty().replacen("\"seed\": 1", "\"seed\": 1e999", 1));
        assert!(wrong.contains("number out of range"), "{wrong}");
    }
}
