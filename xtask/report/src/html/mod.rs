//! One self-contained page: no scripts, nothing loaded from elsewhere.
//!
//! - `figures`: its pictures, each in the sizes it is needed in
//! - [`pictures`]: the same alone
//! - `tables`: its numbers
//!
//! `templates/page.html` is the page; `page.css`, `inks.css`, `light.css` and `dark.css` beside it
//! are how it looks, on a screen, a phone and paper.
mod figures;
pub mod pictures;
mod tables;

use askama::Template;

use crate::document::{Claim, Document, Mode};
use figures::Section;
use tables::Table;

/// What the template is filled with.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    document: &'a Document,
    about: String,
    setting: Vec<(&'static str, String)>,
    holding: usize,
    claims: &'a [Claim],
    sections: Vec<Section>,
    tables: Vec<Table>,
}

/// The page of a document.
///
/// # Panics
/// Never: the template writes to memory.
#[must_use]
pub fn page(document: &Document) -> String {
    let page = Page {
        document,
        about: about(document),
        setting: tables::setting(document),
        holding: document.claims.iter().filter(|claim| claim.holds).count(),
        claims: &document.claims,
        sections: figures::sections(document),
        tables: tables::tables(document),
    };
    page.render().expect("memory takes everything")
}

/// What a reader must know before the first number.
#[must_use]
pub fn about(document: &Document) -> String {
    let setting = &document.setting;
    let host = match setting.host.as_str() {
        "lab" => {
            "in the lab, an emulated machine where a fault costs far more than on a real one: \
                  compare, do not quote"
        }
        "native" => "on the machine's own KVM",
        other => other,
    };
    let exact =
        if setting.exact { ". One instruction is one nanosecond: times count instructions" } else { "" };
    let linux = document.modes().into_iter().any(Mode::is_linux);
    let guests = if linux { "Hermit, and Linux beside it," } else { "Hermit" };
    let cores = if setting.cores == 1 { "core" } else { "cores" };
    format!(
        "{guests} under {}, {} {cores}, {} MiB, {host}{exact}.",
        setting.vmm, setting.cores, setting.memory_mib
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = page(&example::overlap(1));
        for loads in ["<script", "src=", "@import", "url(", "<link", "http:", "https:", "<iframe"] {
            assert!(!page.contains(loads), "the page contains {loads}");
        }
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn the_page_tells_question_claims_setting_and_numbers() {
        let document = example::overlap(1);
        let page = page(&document);
        for text in [
            document.experiment.question.as_str(),
            &document.experiment.falsified_by,
            &document.setting.command,
            &document.claims[0].text,
            "1 of 2 hold",
            "page latency in ms: 50",
        ] {
            assert!(page.contains(text), "{text:?} is not on the page");
        }
        let opened = page.matches("<svg").count();
        assert_eq!(opened, page.matches("</svg>").count());
        assert!(opened > 10, "{opened} pictures");
        assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
    }

    #[test]
    fn what_a_document_says_is_not_taken_for_html() {
        let mut document = example::small().document();
        document.experiment.question = "is a < b & \"c\"? <script>alert(1)</script>".into();
        let page = page(&document);
        assert!(!page.contains("<script"), "markup got through");
        assert!(page.contains("is a &#60; b &#38;"), "the question is gone");
    }

    /// Whatever passes the checks must be drawn: extreme and equal values, few and many points,
    /// names with anything in them.
    #[test]
    fn every_sound_document_makes_a_page() {
        use rand::rngs::Xoshiro256PlusPlus;
        use rand::{RngExt, SeedableRng};
        const VALUES: [f64; 12] =
            [0.0, -0.0, 1.0, 1.0, -1.0, 5e-324, 1e-9, 1e9, 1e15, 1e300, -1e300, 0.1 + 0.2];
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
        for seed in 0..60 {
            let mut document =
                example::Made { seed, pages: 4, repetitions: 2, ..example::small() }.document();
            let mut value = || VALUES[rng.random_range(0..VALUES.len())];
            for sample in &mut document.samples {
                sample.parameters.insert("tasks".into(), value());
                sample.metrics.values_mut().for_each(|metric| *metric = value());
                for histogram in &mut sample.histograms {
                    histogram.buckets = vec![(0, 1), (u64::from(value() > 0.0) + 1, 3), (u64::MAX, 1)];
                }
                for fault in &mut sample.faults {
                    (fault.ready, fault.running) = (fault.ready.min(seed), u64::MAX - seed);
                }
            }
            for reference in &mut document.references {
                reference.points.iter_mut().for_each(|(_, held)| *held = value());
                reference.label = "<:é→".repeat(5);
            }
            document.check().unwrap();
            let text = crate::text::summary(&document, crate::terminal::Look::Plain);
            let page = page(&document) + &text;
            for wrong in ["NaN", "inf\"", "infH", "infV"] {
                assert!(!page.contains(wrong), "{wrong} on the page of seed {seed}");
            }
        }
    }

    #[test]
    fn every_class_in_the_pictures_has_a_colour() {
        let page = page(&example::overlap(1));
        let style = page.split("</style>").next().unwrap();
        for ink in crate::plot::ink::Ink::all() {
            let variable = format!("--{}:", ink.class());
            // By light, by night, and on paper as by light.
            assert_eq!(style.matches(&variable).count(), 2, "{variable}");
            let used = [format!(".line-{}", ink.class()), format!(".fill-{}", ink.class())];
            assert!(used.iter().any(|class| style.contains(class.as_str())), "{used:?}");
        }
    }
}
