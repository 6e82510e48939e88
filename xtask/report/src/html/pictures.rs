//! The page's pictures alone, for a paper or a talk: as by light, with colours in place of the
//! page's variables, since few programs but browsers know those.

use std::fmt::Write as _;

use super::figures::{Figure, sections};
use crate::Report;
use crate::plot::svg::{escaped, text_width};

/// Colours by light: `--name: value;` each.
const LIGHT: &str = include_str!("../../templates/light.css");
/// Looks of the classes.
const INKS: &str = include_str!("../../templates/inks.css");

/// Height of a line of a legend, and size of its text.
const LINE: f64 = 17.0;
const TEXT: f64 = 11.0;

/// Names and texts of the files, one for each picture.
pub fn pictures(report: &Report) -> Vec<(String, String)> {
    let style = style();
    let figures = sections(report).into_iter().flat_map(|section| {
        let of_section = section.figures.into_iter();
        of_section.map(move |figure| (slug(&section.title, 30) + "-" + &slug(&figure.title, 60), figure))
    });
    let named = figures.enumerate().map(|(i, (title, figure))| {
        (format!("{:02}-{}.svg", i + 1, title.trim_end_matches('-')), alone(&figure, &style))
    });
    named.collect()
}

fn style() -> String {
    let colours = LIGHT.split("--").skip(1).filter_map(|part| part.split(';').next()?.split_once(": "));
    let resolved =
        colours.fold(INKS.to_owned(), |css, (name, colour)| css.replace(&format!("var(--{name})"), colour));
    format!("svg{{font-family:Helvetica,Arial,sans-serif}}{}", resolved.replace('\n', ""))
}

/// The first letters and digits, words joined: what every file system takes.
fn slug(title: &str, length: usize) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-").chars().take(length).collect()
}

fn alone(figure: &Figure, style: &str) -> String {
    let svg = figure.wide.as_ref().unwrap_or(&figure.narrow);
    let (head, body) = svg.split_once('>').expect("an element");
    let (width, height) = size(head);
    let legend = legend(figure, width, height);
    let height = height + LINE * legend.len() as f64 + if legend.is_empty() { 0.0 } else { 4.0 };
    let label = head.split_once("aria-label").map_or("", |(_, label)| label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label{label}><style>{style}</style>{}{}</svg>\n",
        body.trim_end_matches("</svg>"),
        legend.concat()
    )
}

fn size(head: &str) -> (f64, f64) {
    let view =
        head.split("viewBox=\"0 0 ").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let mut sizes = view.split(' ').filter_map(|size| size.parse().ok());
    (sizes.next().unwrap_or_default(), sizes.next().unwrap_or_default())
}

/// On the page the legend is beneath the picture; alone, it must be in it. As many entries a line
/// as there is room for.
fn legend(figure: &Figure, width: f64, height: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut x = f64::INFINITY;
    for (class, label) in &figure.legend {
        let entry = 34.0 + text_width(label, TEXT) + 18.0;
        if x + entry > width {
            lines.push(String::new());
            x = 2.0;
        }
        let y = height + LINE * lines.len() as f64 - 4.0;
        let Some(line) = lines.last_mut() else { continue };
        let _ = match class.starts_with("stage") {
            true => write!(
                line,
                "<rect x=\"{x}\" y=\"{}\" width=\"26\" height=\"9\" class=\"fill-{class}\"/>",
                y - 9.0
            ),
            false => {
                write!(line, "<path d=\"M{x} {}h26\" stroke-width=\"2\" class=\"line-{class}\"/>", y - 4.0)
            }
        };
        let at = x + 32.0;
        let _ = write!(
            line,
            "<text x=\"{at:.1}\" y=\"{y}\" font-size=\"{TEXT}\" class=\"fill-axis\">{}</text>",
            escaped(label)
        );
        x += entry;
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::example;

    #[test]
    fn pictures_stand_alone_in_files_of_their_own() {
        let pictures = pictures(&example::report(example::overlap(1)));
        let names: BTreeSet<&String> = pictures.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), pictures.len());
        assert!(
            names.contains(&"02-time-to-read-all-pages-in-s-page-latency-in-ms-10.svg".to_owned()),
            "{names:?}"
        );
        for (name, svg) in &pictures {
            let document = roxmltree::Document::parse(svg).unwrap_or_else(|error| panic!("{name}: {error}"));
            let root = document.root_element();
            assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"), "{name}");
            assert!(root.attribute("width").is_some_and(|width| width.parse::<f64>().is_ok()), "{name}");
            assert!(!svg.contains("var(") && svg.contains(".line-async { stroke: #0067a8; }"), "{svg}");
        }
        let with_references = &pictures[0].1;
        assert!(with_references.contains("attainable: max(ideal, P·c)"), "{with_references}");
    }
}
