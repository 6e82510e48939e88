//! Text of a document that nothing takes for a command.

use serde_json::{Map, Value};

/// Text with escapes in place of control characters, which a terminal obeys and XML forbids, and of
/// those that turn the direction of writing.
pub fn visible(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_hidden(c) { c.escape_unicode().to_string() } else { c.into() }).collect()
}

/// The same in each text and name of a JSON value. Returns whether anything was replaced.
pub fn make_visible(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.contains(is_hidden) => {
            *text = visible(text);
            true
        }
        Value::Array(values) => values.iter_mut().fold(false, |replaced, it| make_visible(it) | replaced),
        Value::Object(members) => {
            let mut replaced = members.values_mut().fold(false, |replaced, it| make_visible(it) | replaced);
            if members.keys().any(|name| name.contains(is_hidden)) {
                let named = std::mem::take(members).into_iter().map(|(name, it)| (visible(&name), it));
                *members = named.collect::<Map<_, _>>();
                replaced = true;
            }
            replaced
        }
        _ => false,
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_become_escapes_wherever_they_are() {
        let mut value = json!({"a": ["\u{1b}[31mred", 1], "b\u{7}": {"é→": "two\nlines\u{202e}"}});
        assert!(make_visible(&mut value));
        let expected = json!({
            "a": ["\\u{1b}[31mred", 1], "b\\u{7}": {"é→": "two\\u{a}lines\\u{202e}"}
        });
        assert_eq!(value, expected);
        assert!(!make_visible(&mut value));
    }
}
