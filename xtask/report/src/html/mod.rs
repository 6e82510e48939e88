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

use crate::document::{Claim, Mode};
use crate::{Report, number};
use figures::Section;
use tables::Table;

/// Contents of the template.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    about: String,
    setting: Vec<(&'static str, String)>,
    holding: usize,
    claims: &'a [Claim],
    sections: Vec<Section>,
    tables: Vec<Table>,
}

/// The page of a document.
pub fn page(report: &Report) -> String {
    let page = Page {
        report,
        about: about(report),
        setting: tables::setting(report),
        holding: report.claims.iter().filter(|claim| claim.holds).count(),
        claims: &report.claims,
        sections: figures::sections(report),
        tables: tables::tables(report),
    };
    page.render().expect("memory takes everything")
}

/// Facts that a reader must know before the first number.
pub fn about(report: &Report) -> String {
    let setting = &report.setting;
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
    let linux = report.modes().iter().any(|mode| mode.is_linux());
    let guests = if linux { "Hermit, and Linux beside it," } else { "Hermit" };
    let cores = if setting.cores == 1 { "core" } else { "cores" };
    format!(
        "{guests} under {}, {} {cores}, {} MiB, {host}{exact}.{}",
        setting.vmm,
        setting.cores,
        setting.memory_mib,
        untold(report).unwrap_or_default()
    )
}

/// The page-ins of the async samples of which the guest was not told; `None` in a document from
/// before they were counted.
fn untold(report: &Report) -> Option<String> {
    let count = |name| Some(number::grouped(report.sum(Mode::Async, name)? as f64));
    let (untold, all) = (count("host_untold_pages")?, count("host_served_pages")?);
    report.modes().contains(&Mode::Async).then(|| {
        format!(" The guest was not told of {untold} of {all} page-ins (async): for these a core stopped.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = page(&example::report(example::overlap(1)));
        for loads in ["<script", "src=", "@import", "url(", "<link", "http:", "https:", "<iframe"] {
            assert!(!page.contains(loads), "the page contains {loads}");
        }
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn the_page_holds_question_claims_setting_and_numbers() {
        let report = example::report(example::overlap(1));
        let page = page(&report);
        for text in [
            report.experiment.question.as_str(),
            &report.experiment.falsified_by,
            &report.setting.command,
            &report.claims[0].text,
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
    fn text_of_a_document_is_not_taken_for_html() {
        let mut document = example::small().document();
        document.experiment.question = "is a < b & \"c\"? <script>alert(1)</script>".into();
        let page = page(&example::report(document));
        assert!(!page.contains("<script"), "markup got through");
        assert!(page.contains("is a &#60; b &#38;"), "the question is gone");
    }

    #[test]
    fn every_class_in_the_pictures_has_a_colour() {
        let page = page(&example::report(example::overlap(1)));
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
