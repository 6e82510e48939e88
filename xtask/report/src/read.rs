//! Reading `report.json`, with errors that say where it is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::Report;
use crate::document::{Document, SCHEMA};
use crate::visible::{make_visible, visible};

/// Reason why a file cannot be used as a document.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("cannot read {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// It is not a document, or one that makes no sense; the message says where.
    #[error("{}{}", .0.display(), .1)]
    Content(PathBuf, String),
}

impl Report {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(file: &Path) -> Result<Self, ReadError> {
        let bytes = fs::read(file).map_err(|source| ReadError::File(file.into(), source))?;
        Self::parse(file, &bytes)
    }

    /// The same for content that was read already; `file` is for the errors.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn parse(file: &Path, json: &[u8]) -> Result<Self, ReadError> {
        parse(json).map_err(|what| ReadError::Content(file.into(), what))
    }
}

/// Parses and checks a document. The error goes on after the file's name.
fn parse(json: &[u8]) -> Result<Report, String> {
    let mut value: Value = serde_json::from_slice(json)
        .map_err(|error| format!("{}: not JSON: {}", place(&error), reason(&error)))?;
    check_kind(&value)?;
    let mut input = serde_json::Deserializer::from_slice(json);
    let mut document: Document = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let field = visible(&error.path().to_string());
        format!("{}, field {field}: {}", place(error.inner()), reason(error.inner()))
    })?;
    if make_visible(&mut value) {
        document = serde_json::from_value(value).map_err(|error| format!(": not a report: {error}"))?;
    }
    Report::new(document).map_err(|what| format!(", {what}"))
}

/// Checks kind and version. First, since in another version every field may differ.
fn check_kind(value: &Value) -> Result<(), String> {
    let Some(schema) = value.get("schema").and_then(Value::as_u64) else {
        return Err(": not a report: it has no `schema` that is a whole number".into());
    };
    match value.get("experiment") {
        Some(Value::String(experiment)) => Err(format!(
            ": a report of checks ({}), which has no samples; `cargo xtask run` and \
             `cargo xtask experiment run` write the reports that can be drawn and compared",
            visible(experiment)
        )),
        _ if schema > SCHEMA.into() => Err(format!(
            ": made by a newer version: schema {schema}, this one reads up to {SCHEMA}; \
             use the version that made it, or a later one"
        )),
        _ if schema < SCHEMA.into() => Err(format!(
            ": made by an older version: schema {schema}, this one reads {SCHEMA}; \
             repeat the experiment, or use the version that made it"
        )),
        _ => Ok(()),
    }
}

/// The place of an error in its file.
fn place(error: &serde_json::Error) -> String {
    format!(", line {}, column {}", error.line(), error.column())
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
