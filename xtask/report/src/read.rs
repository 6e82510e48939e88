//! Reading `report.json`, with errors that say where it is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::Report;
use crate::check::Impossible;
use crate::document::{Document, SCHEMA};
use crate::visible::{make_visible, visible};

/// Reason why a file cannot be used as a document.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("{}, line {line}, column {column}: not JSON: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The fault.
        reason: String,
    },
    /// It is JSON, but no document of an experiment.
    #[error("{}: not a report: {reason}", file.display())]
    NotAReport {
        /// The file.
        file: PathBuf,
        /// The part that is missing.
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
        /// Name of the checks.
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
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Path from the top: `samples[3].metrics`.
        field: String,
        /// The fault.
        reason: String,
    },
    /// Every field is of the right kind, but together they make no sense.
    #[error("{}, {what}", file.display())]
    Impossible {
        /// The file.
        file: PathBuf,
        /// The field, and the reason.
        what: Impossible,
    },
}

impl Report {
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
        let mut value: Value = serde_json::from_slice(json).map_err(|error| ReadError::Syntax {
            file: file.into(),
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        })?;
        check_kind(file, &value)?;
        let mut input = serde_json::Deserializer::from_slice(json);
        let mut document: Document = serde_path_to_error::deserialize(&mut input).map_err(|error| {
            let inner = error.inner();
            ReadError::Field {
                file: file.into(),
                line: inner.line(),
                column: inner.column(),
                field: visible(&error.path().to_string()),
                reason: reason(inner),
            }
        })?;
        if make_visible(&mut value) {
            document = serde_json::from_value(value)
                .map_err(|error| ReadError::NotAReport { file: file.into(), reason: error.to_string() })?;
        }
        Self::new(document).map_err(|what| ReadError::Impossible { file: file.into(), what })
    }
}

/// Checks kind and version. First, since in another version every field may differ.
fn check_kind(file: &Path, value: &Value) -> Result<(), ReadError> {
    let file = || file.to_path_buf();
    let Some(schema) = value.get("schema").and_then(Value::as_u64) else {
        let reason = "it has no `schema` that is a whole number".into();
        return Err(ReadError::NotAReport { file: file(), reason });
    };
    match value.get("experiment") {
        Some(Value::String(experiment)) => {
            Err(ReadError::OfChecks { file: file(), experiment: visible(experiment) })
        }
        _ if schema > SCHEMA.into() => Err(ReadError::Newer { file: file(), found: schema }),
        _ if schema < SCHEMA.into() => Err(ReadError::Older { file: file(), found: schema }),
        _ => Ok(()),
    }
}

/// serde_json's message without the place, which has fields of its own.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    visible(text.strip_suffix(&place).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn error(json: &str) -> String {
        match Report::parse(Path::new("some/report.json"), json.as_bytes()) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    fn pretty() -> String {
        serde_json::to_string_pretty(&example::overlap(1)).unwrap()
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let report = Report::parse(Path::new("report.json"), pretty().as_bytes()).unwrap();
        assert!(*report == example::overlap(1), "something was lost on the way");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Report::read(Path::new("/nonexistent/report.json")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/report.json");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("No such file"), "{cause}");
    }

    #[test]
    fn broken_json_is_located_by_line_and_column() {
        let cut = &pretty()[..2000];
        let line = cut.lines().count();
        assert!(error(cut).starts_with(&format!("some/report.json, line {line}, column ")), "{}", error(cut));
        assert_eq!(
            error("{\n  \"schema\": 2,\n}"),
            "some/report.json, line 3, column 1: not JSON: trailing comma"
        );
        assert!(error("").contains("line 1, column 0: not JSON: EOF"), "{}", error(""));
    }

    #[test]
    fn other_documents_are_recognized() {
        assert!(error("[]").contains("not a report"));
        assert!(error("{\"schema\": \"two\"}").contains("not a report"));
        let of_checks = error("{\"schema\": 1, \"experiment\": \"contexts\", \"vmm\": \"uhyve\"}");
        assert!(of_checks.contains("a report of checks (contexts)"), "{of_checks}");
    }

    #[test]
    fn other_versions_are_recognized_whatever_their_fields_are() {
        let newer = error("{\"schema\": 3, \"content\": []}");
        assert!(newer.contains("newer version: schema 3, this one reads up to 2"), "{newer}");
        let older = error("{\"schema\": 1, \"experiment\": {}}");
        assert!(older.contains("older version: schema 1, this one reads 2"), "{older}");
    }

    #[test]
    fn a_wrong_field_is_named_with_its_line() {
        let text = pretty();
        let at = text.find("\"cores\": 1").unwrap();
        let line = text[..at].lines().count();
        let wrong = error(&text.replace("\"cores\": 1", "\"cores\": \"one\""));
        assert!(wrong.contains(&format!("line {line}, column ")), "{wrong}");
        assert!(wrong.contains("field setting.cores: invalid type: string \"one\""), "{wrong}");
        let unknown = error(&text.replacen("\"repetition\"", "\"repitition\"", 1));
        assert!(unknown.contains("field samples[0].repitition: unknown field `repitition`"), "{unknown}");
        let mode = error(&text.replacen("\"mode\": \"async\"", "\"mode\": \"asink\"", 1));
        assert!(mode.contains(".mode: unknown variant `asink`, expected one of"), "{mode}");
    }

    #[test]
    fn a_number_beyond_all_bounds_is_refused() {
        let wrong = error(&pretty().replacen("\"seed\": 1", "\"seed\": 1e999", 1));
        assert!(wrong.contains("number out of range"), "{wrong}");
    }

    #[test]
    fn control_characters_do_not_get_through() {
        let text = pretty().replace("tasks that read", "tasks \\u001b[31mthat\\u0007 read");
        let report = Report::parse(Path::new("report.json"), text.as_bytes()).unwrap();
        assert_eq!(report.experiment.variable.label, "tasks \\u{1b}[31mthat\\u{7} read");
        for wrong in ["{\"schema\": 1, \"experiment\": \"\\u001b\"}", "{\"schema\": 2, \"\\u001b\": 1}"] {
            let message = error(wrong);
            assert!(message.contains("\\u{1b}") && !message.contains('\u{1b}'), "{message}");
        }
    }
}
