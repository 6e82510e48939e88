//! The style check of doc comments: they open with a noun phrase or a third-person verb.

use super::files;

/// Opening words of a clause, which a reader must turn into a noun phrase first.
const CLAUSES: [&str; 7] = ["What", "Who", "Whose", "Whether", "How", "Where", "Which"];

/// The text of a line that is a doc comment.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(text.trim_start())
}

fn opens_with_a_clause(text: &str) -> bool {
    let word = text.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    CLAUSES.contains(&word)
}

#[test]
fn fewer_than_one_doc_line_in_two_hundred_opens_with_a_clause() {
    let mut total = 0;
    let mut clauses = Vec::new();
    for (file, text) in files("rs") {
        for (number, line) in text.lines().enumerate() {
            let Some(doc) = doc(line) else { continue };
            total += 1;
            if opens_with_a_clause(doc) {
                clauses.push(format!("{}:{}: {doc}", file.display(), number + 1));
            }
        }
    }
    assert!(
        clauses.len() * 200 < total,
        "{} of {total} doc lines open with {}: start with a noun phrase or a third-person verb\n{}",
        clauses.len(),
        CLAUSES.join("/"),
        clauses.join("\n")
    );
}

#[test]
fn only_doc_comments_are_judged_and_only_by_their_first_word() {
    let judged = |line| doc(line).is_some_and(opens_with_a_clause);
    assert!(judged("    /// What a pass came to.") && judged("//! Where: the file."));
    assert!(
        !judged("// What a pass came to.") && !judged("/// Whatever is left.") && !judged("/// So what?")
    );
}
