//! The page's pictures.

use std::collections::BTreeMap;

use crate::Report;
use crate::document::{Better, Metric, Sample};
use crate::plot::{Size, curves, percentiles, stages, timeline};
use crate::points::Value;

/// Pictures of one kind.
pub struct Section {
    /// Its heading.
    pub title: String,
    /// The meaning of what is drawn, and how to read it.
    pub text: String,
    /// The pictures.
    pub figures: Vec<Figure>,
}

/// One picture.
pub struct Figure {
    /// The subject of the picture.
    pub title: String,
    /// For a whole page's width; without it the narrow one takes half of the page.
    pub wide: Option<String>,
    /// For a phone.
    pub narrow: String,
    /// Colours and their meanings, where these do not stand beside the lines.
    pub legend: Vec<(String, String)>,
}

const DISTRIBUTIONS: &str = "All repetitions together. The further right, the rarer: the steps from 90 to 99 and \
                             from 99 to 99.9 are as wide as the one up to 90. The picture ends where a single \
                             value is left.";

/// All sections that the document has something for.
pub fn sections(report: &Report) -> Vec<Section> {
    let mut sections = of_metrics(report);
    sections.extend(of_distributions(report));
    sections.extend([of_stages(report), of_faults(report)]);
    sections.retain(|section| !section.figures.is_empty());
    sections
}

/// A section for each metric; without panels one for the first, and one for all others.
fn of_metrics(report: &Report) -> Vec<Section> {
    let panels = report.panels();
    let mut sections: Vec<Section> = Vec::new();
    for metric in report.varying().filter(|metric| metric.better != Better::Neither) {
        let alone = panels.len() == 1;
        let whole = alone && sections.is_empty();
        let of_panel = |panel: &Option<Value>| of_metric(report, metric, *panel, whole);
        let figures: Vec<Figure> = panels.iter().filter_map(of_panel).collect();
        if alone && sections.len() == 2 {
            sections[1].figures.extend(figures);
            continue;
        }
        let title = if alone && !whole { "Other metrics".into() } else { capitalized(&metric.label) };
        let text = "Marks are medians; bars reach from the smallest to the largest repetition.".into();
        sections.push(Section { title, text, figures });
    }
    sections
}

fn of_metric(report: &Report, metric: &Metric, panel: Option<Value>, whole: bool) -> Option<Figure> {
    let references = curves::references(report, metric, panel).into_iter();
    let legend = references.map(|held| (format!("reference{}", held.number), held.reference.label.clone()));
    Some(Figure {
        title: capitalized(&report.panel_title(panel)),
        wide: if whole { Some(curves::draw(report, metric, panel, Size::Wide)?) } else { None },
        narrow: curves::draw(report, metric, panel, Size::Narrow)?,
        legend: legend.collect(),
    })
}

/// A section for each name.
fn of_distributions(report: &Report) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for point in report.telling_points() {
        for (name, lines) in percentiles::groups(report, point) {
            let figure = Figure {
                title: capitalized(&report.place(point)),
                wide: None,
                narrow: percentiles::draw(&name, &lines, Size::Narrow),
                legend: Vec::new(),
            };
            let title = format!("Distribution: {name}");
            match sections.iter_mut().find(|section| section.title == title) {
                Some(section) => section.figures.push(figure),
                None => sections.push(Section { title, text: DISTRIBUTIONS.into(), figures: vec![figure] }),
            }
        }
    }
    sections
}

fn of_stages(report: &Report) -> Section {
    let rows = stages::rows(report, &report.telling_points());
    let legend = (0..).zip(stages::STAGES).map(|(i, stage): (u8, _)| (format!("stage{i}"), stage.to_owned()));
    let figures = (!rows.is_empty()).then(|| Figure {
        title: String::new(),
        wide: Some(stages::draw(&rows, Size::Wide)),
        narrow: stages::draw(&rows, Size::Narrow),
        legend: legend.collect(),
    });
    Section {
        title: "Where the time of a fault goes".into(),
        text: "Means, since medians do not add up. The host's stage holds the page's own latency.".into(),
        figures: figures.into_iter().collect(),
    }
}

fn of_faults(report: &Report) -> Section {
    // In each panel the one that waits most: async, with the largest value of the variable.
    let mut drawn: BTreeMap<Option<Value>, &Sample> = BTreeMap::new();
    let recorded = || report.samples.iter().filter(|sample| !sample.faults.is_empty());
    for sample in recorded() {
        let rank = |sample: &Sample| (sample.mode, report.point(sample).x);
        let best = drawn.entry(report.point(sample).panel).or_insert(sample);
        if rank(sample) > rank(best) {
            *best = sample;
        }
    }
    let figure = |sample: &Sample| {
        let dense = timeline::is_dense(sample);
        let about = if dense { "; the line is a mean over many, the surface reaches the most" } else { "" };
        Some(Figure {
            title: format!("{}{about}", capitalized(&report.title(sample))),
            wide: Some(timeline::draw(report, sample, Size::Wide)?),
            narrow: timeline::draw(report, sample, Size::Narrow)?,
            legend: Vec::new(),
        })
    };
    let rest = match recorded().count() - drawn.len() {
        0 => String::new(),
        more => format!(" {more} more samples are in it."),
    };
    Section {
        title: "Faults outstanding".into(),
        text: format!(
            "From the #PF to the ready interrupt. cargo xtask report --format trace makes every fault a span \
             for Perfetto.{rest}"
        ),
        figures: drawn.into_values().filter_map(figure).collect(),
    }
}

/// With a capital letter, as a heading.
pub fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
