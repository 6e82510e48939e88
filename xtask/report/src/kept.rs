//! Files of the repository that are made from the types here, compared with them.
//!
//! `APF_UPDATE=1 cargo test --package apf-report kept` writes them anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

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
