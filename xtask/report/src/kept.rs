//! Files of the repository that are made from the types here, compared with them.
//!
//! `APF_UPDATE=1 cargo test --package apf-report kept` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

use crate::document::Document;
use crate::example;

fn kept(file: &str, content: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if env::var_os("APF_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(found == content, "{file} is not what the code makes: write it anew with APF_UPDATE=1");
}

#[test]
fn the_layout_in_the_manual_is_that_of_the_types() {
    kept("docs/report-schema.md", &markdown(&schemars::schema_for!(Document).to_value()));
}

#[test]
fn the_tests_documents_are_what_is_made_up() {
    let json = |document: &Document| {
        crate::check::check(document).unwrap();
        serde_json::to_string(document).unwrap() + "\n"
    };
    let made = example::small();
    kept("tests/data/made-up.json", &json(&made.document()));
    let slower = example::Made { slower: 1.3, seed: 2, details: false, ..made.clone() };
    kept("tests/data/made-up-slower.json", &json(&slower.document()));
    let again = example::Made { seed: 3, details: false, ..made.clone() };
    kept("tests/data/made-up-again.json", &json(&again.document()));
    let mut newer = made.document();
    newer.schema += 1;
    newer.samples.clear();
    kept("tests/data/made-up-newer.json", &(serde_json::to_string(&newer).unwrap() + "\n"));
}

/// The schema for people: a table for each kind of object.
fn markdown(schema: &Value) -> String {
    let mut text = format!(
        "# `report.json`\n\n\
         Document that `cargo xtask run` and `cargo xtask experiment run` write: schema {}. This page is\n\
         made from the comments and types in `xtask/report/src/document.rs` and `xtask/vocabulary`; a test\n\
         compares them.\n\n\
         Unknown fields are refused, so that a misspelt one is not silently lost. Times are in\n\
         the unit that the field's name or description says.\n",
        crate::document::SCHEMA
    );
    section(&mut text, "Document", schema);
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        section(&mut text, name, definition);
    }
    text
}

fn section(text: &mut String, name: &str, definition: &Value) {
    let about = definition["description"].as_str().unwrap_or_default();
    let _ = write!(text, "\n## {name}\n\n{}\n\n", plain(about));
    if let Some(variants) = definition["oneOf"].as_array() {
        text.push_str("| value | meaning |\n|---|---|\n");
        for variant in variants {
            let meaning = plain(variant["description"].as_str().unwrap_or_default());
            let _ = writeln!(text, "| `{}` | {meaning} |", variant["const"].as_str().unwrap_or("?"));
        }
        return;
    }
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    text.push_str("| field | type | meaning |\n|---|---|---|\n");
    for (field, property) in definition["properties"].as_object().expect("properties") {
        let optional = if required.contains(&field.as_str()) { "" } else { ", may be missing" };
        let meaning = plain(property["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "| `{field}` | {}{optional} | {meaning} |", kind(property));
    }
}

/// Rust's links mean nothing outside its documentation.
fn plain(comment: &str) -> String {
    let one_line = comment.replace('\n', " ").replace('|', "\\|");
    let code = one_line.replace("[`", "`").replace("`]", "`");
    if code == "`SCHEMA`." { format!("{}.", crate::document::SCHEMA) } else { code }
}

fn kind(property: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        return reference.trim_start_matches("#/$defs/").to_owned();
    }
    if let Some(choices) = property["anyOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(items) = property["prefixItems"].as_array() {
        return format!("[{}]", items.iter().map(kind).collect::<Vec<_>>().join(", "));
    }
    let of = |name: &str| match name {
        "array" => format!("list of {}", kind(&property["items"])),
        "object" => format!("object: name → {}", kind(&property["additionalProperties"])),
        "integer" => "whole number".into(),
        other => other.to_owned(),
    };
    match &property["type"] {
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).map(of).collect::<Vec<_>>().join(" or ")
        }
        name => of(name.as_str().unwrap_or("?")),
    }
}
