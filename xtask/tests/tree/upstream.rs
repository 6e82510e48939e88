//! Checks of the texts with which patches of the kernel are proposed.

use std::path::Path;

use super::files;

/// The file with the texts.
const TEXTS: &str = "docs/upstream/README.md";
/// Parts of the text of a section that proposes patches.
const PARTS: [&str; 3] = ["**Problem.**", "**Evidence.**", "**Risk.**"];

/// Each patch as the texts list it: number and subject.
fn patches() -> Vec<String> {
    let line = |(file, text): (&Path, &str)| {
        let number = &file.file_name()?.to_str()?[..4];
        let (_, rest) = text.split_once("Subject: [PATCH] ")?;
        let (subject, _) = rest.split_once("\n\n")?;
        Some(format!("- `{number}` {}", subject.replace("\n ", " ")))
    };
    let files = files("patch");
    let kernel = files.iter().filter(|(file, _)| file.starts_with("images/kernel/patches"));
    kernel.map(|(file, text)| line((file, text)).expect("a patch with number and subject")).collect()
}

#[test]
fn each_patch_stands_in_one_section_with_problem_evidence_and_risk() {
    let patches = patches();
    let texts = &files("md")[Path::new(TEXTS)];
    assert!(patches.len() > 10, "{patches:?}");
    let mut listed: Vec<_> = texts.lines().filter(|line| line.starts_with("- `0")).collect();
    listed.sort_unstable();
    assert_eq!(listed, patches, "{TEXTS} lists other patches than there are");
    for section in texts.split("\n## ").skip(1).filter(|section| !section.starts_with("Not for upstream")) {
        let missing: Vec<_> = PARTS.iter().filter(|part| !section.contains(**part)).collect();
        assert!(
            missing.is_empty(),
            "{TEXTS}, {}: no {missing:?}",
            section.lines().next().unwrap_or_default()
        );
    }
}
