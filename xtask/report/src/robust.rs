//! Any document is either refused with an error or drawn and compared: no panic, no endless loop,
//! no number that is none, no character that a terminal or a reader of XML would obey.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Number, Value, json};

use crate::compare::Comparison;
use crate::terminal::Look;
use crate::{Report, csv, example, hgrm, html, text, trace};

/// A change of a document, at the end of a path through its members.
#[derive(Clone, Debug)]
struct Change {
    path: Vec<Index>,
    /// In place of a number.
    number: Number,
    /// In place of a text.
    text: String,
    /// In place of anything, wherever the path ends.
    other: Option<Other>,
}

#[derive(Clone, Debug)]
enum Other {
    Json(Value),
    /// A list loses its members from here on.
    Cut(Index),
    /// A list has this member twice.
    Double(Index),
}

fn number() -> impl Strategy<Value = Number> {
    let integers = [0, 1, 63, 64, u32::MAX.into(), 1 << 32, (1 << 53) + 1, u64::MAX - 1, u64::MAX];
    let floats = [-0.0, -1.0, 0.5, 5e-324, 1e-300, 1e-9, 1e15, 1e299, 1e300, -1e300, f64::MAX, f64::MIN];
    let float = |value| Number::from_f64(value).expect("finite");
    prop_oneof![
        select(integers.to_vec()).prop_map(Number::from),
        select(floats.to_vec()).prop_map(float),
        (0.0..1e4f64).prop_map(float),
        (-3..200i64).prop_map(Number::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let texts =
        ["", "\u{1b}[2J\u{7}\r\n", "<script>&\"'", "a:b ↓ é\u{202e}\u{ffff}", "tasks", "seconds", "../../x"];
    prop_oneof![select(texts.to_vec()).prop_map(str::to_owned), ".{0,40}", "[a-z ]{200,300}"]
}

fn change() -> impl Strategy<Value = Change> {
    let others = vec![json!(null), json!(true), json!([]), json!({}), json!("linux-async"), json!(0)];
    let other = prop_oneof![
        2 => select(others).prop_map(Other::Json),
        4 => any::<Index>().prop_map(Other::Cut),
        4 => any::<Index>().prop_map(Other::Double),
    ];
    let path = prop::collection::vec(any::<Index>(), 2..8);
    let other = prop::option::weighted(0.2, other);
    (path, number(), text(), other).prop_map(|(path, number, text, other)| Change {
        path,
        number,
        text,
        other,
    })
}

impl Change {
    /// The end of the path in a document, as a JSON pointer.
    fn place(&self, document: &Value) -> String {
        let (mut pointer, mut value) = (String::new(), document);
        for index in &self.path {
            value = match value {
                // A change of a list ends here; the others go on to a number or a text.
                Value::Array(_) if matches!(self.other, Some(Other::Cut(_) | Other::Double(_))) => break,
                Value::Array(members) if !members.is_empty() => {
                    let at = index.index(members.len());
                    pointer += &format!("/{at}");
                    &members[at]
                }
                Value::Object(members) if !members.is_empty() => {
                    let (name, value) = members.iter().nth(index.index(members.len())).expect("a member");
                    pointer += &format!("/{name}");
                    value
                }
                _ => break,
            };
        }
        pointer
    }

    fn apply(self, document: &mut Value) {
        let Some(place) = document.pointer_mut(&self.place(document)) else { return };
        match (self.other, place) {
            (Some(Other::Json(json)), place) => *place = json,
            (Some(Other::Cut(at)), Value::Array(members)) => members.truncate(at.index(members.len().max(1))),
            (Some(Other::Double(at)), Value::Array(members)) if !members.is_empty() => {
                let at = at.index(members.len());
                members.insert(at, members[at].clone());
            }
            (None, place @ Value::Number(_)) => *place = self.number.into(),
            (None, place @ Value::String(_)) => *place = self.text.into(),
            _ => {}
        }
    }
}

/// Draws everything, and checks what came out.
fn draw(report: &Report, other: &Report) {
    let mut terminal = text::summary(report, Look::Plain);
    for (a, b) in [(report, other), (other, report)] {
        terminal += &match Comparison::new(a, b, 0.05) {
            Ok(comparison) => comparison.text(Look::Plain),
            Err(error) => error.to_string(),
        };
    }
    let page = html::page(report);
    let pictures = html::pictures::pictures(report);
    for (name, svg) in &pictures {
        assert!(!name.contains('/'), "{name}");
        roxmltree::Document::parse(svg).unwrap_or_else(|error| panic!("{name}: {error}: {svg}"));
    }
    let percentiles: String = hgrm::files(report).into_iter().map(|(_, text)| text).collect();
    let table = String::from_utf8(csv::table(report)).expect("UTF-8");
    if let Some(trace) = trace::trace(report) {
        serde_json::from_str::<Value>(&trace).expect("JSON");
    }
    let pictures = pictures.into_iter().map(|(_, svg)| svg).collect();
    for (what, text) in
        [("text", terminal), ("page", page), ("hgrm", percentiles), ("csv", table), ("svg", pictures)]
    {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "control character: {what}: {text}");
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        assert!(!words.iter().any(|word| ["NaN", "inf"].contains(word)), "no number: {what}: {text}");
    }
}

#[test]
fn extreme_settings_are_drawn() {
    let mut document = example::small().document();
    let report = example::report(document.clone());
    (document.setting.cores, document.setting.memory_mib) = (u32::MAX, u32::MAX);
    for sample in &mut document.samples {
        sample.metrics.values_mut().for_each(|value| *value = 5e-324);
        sample.histograms.iter_mut().for_each(|it| it.buckets = vec![(0, 1), (u64::MAX, 1)]);
        sample.faults.iter_mut().for_each(|fault| fault.running = u64::MAX);
    }
    draw(&example::report(document), &report);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_document_is_refused_or_drawn_whatever_is_in_it(
        seed in 0u64..4,
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let made = example::Made { seed, pages: 4, repetitions: 3, ..example::small() }.document();
        let mut value = serde_json::to_value(&made).expect("plain data");
        changes.into_iter().for_each(|change| change.apply(&mut value));
        match Report::parse(Path::new("report.json"), value.to_string().as_bytes()) {
            Ok(report) => draw(&report, &example::report(made)),
            Err(error) => {
                let error = error.to_string();
                prop_assert!(error.starts_with("report.json") && !error.contains(char::is_control), "{error}");
            }
        }
    }
}
