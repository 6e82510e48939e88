//! The page's numbers.

use super::figures::capitalized;
use crate::Report;
use crate::distribution::Distribution;
use crate::document::{Metric, Mode};
use crate::number;
use crate::plot::curves;
use crate::points::Point;
use crate::stats::{Change, Summary};

/// A table; in each row the first cells are its name.
pub struct Table {
    /// Its heading.
    pub title: String,
    /// A hint for reading it.
    pub text: String,
    /// Number of cells that name the row.
    pub keys: usize,
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A number, with small print.
pub struct Cell {
    /// The number.
    pub main: String,
    /// Spread and count.
    pub small: String,
}

impl Cell {
    fn plain(main: impl Into<String>) -> Self {
        Self { main: main.into(), small: String::new() }
    }
}

/// All tables of a document.
pub fn tables(report: &Report) -> Vec<Table> {
    let metrics = report.varying().map(|metric| of_metric(report, metric));
    let all = metrics.chain([of_constants(report), of_distributions(report)]);
    all.filter(|table| !table.rows.is_empty()).collect()
}

fn of_metric(report: &Report, metric: &Metric) -> Table {
    let experiment = &report.experiment;
    let baseline = experiment.baseline;
    let named = report.modes_of(metric).named();
    let modes: Vec<Mode> = named.iter().map(|(mode, _)| *mode).collect();
    let compared: Vec<Mode> = match modes.contains(&baseline) {
        true => modes.iter().copied().filter(|&mode| mode != baseline).collect(),
        false => Vec::new(),
    };
    let references: Vec<_> = report.references_of(metric).collect();
    let mut header: Vec<String> = experiment.panel.iter().map(|panel| capitalized(&panel.label)).collect();
    header.push(capitalized(&experiment.variable.label));
    let keys = header.len();
    header.extend(named.iter().map(|(_, name)| (*name).to_owned()));
    header.extend(compared.iter().map(|mode| format!("{} against {}", mode.name(), baseline.name())));
    header.extend(references.iter().map(|(reference, _)| curves::short_name(reference)));
    let row = |point: Point| -> Option<Vec<Cell>> {
        let of = |mode: Mode| Summary::of(&report.values(&metric.name, point, mode));
        modes.iter().find_map(|&mode| of(mode))?;
        let mut cells = keys_of(point);
        cells.extend(modes.iter().map(|&mode| of(mode).map_or_else(|| Cell::plain("–"), summary)));
        cells.extend(compared.iter().map(|&mode| {
            let values = |mode: Mode| report.values(&metric.name, point, mode);
            let (base, this) = (values(baseline), values(mode));
            if base.is_empty() || this.is_empty() {
                Cell::plain("–")
            } else {
                change(Change::of(&base, &this))
            }
        }));
        cells.extend(references.iter().map(|(_, values)| {
            Cell::plain(values.get(&point).map_or("–".into(), |value| number::short(*value)))
        }));
        Some(cells)
    };
    Table {
        title: capitalized(&metric.label),
        text: "Medians; below them smallest and largest, and how many repetitions; below changes their 95\u{a0}% \
               intervals, from three repetitions on."
            .into(),
        keys,
        header,
        rows: report.points().filter_map(row).collect(),
    }
}

fn change(change: Change) -> Cell {
    let small = change.interval.map(|i| format!("{} to {}", number::change(i.low), number::change(i.high)));
    Cell { main: change.share.map_or("–".into(), number::change), small: small.unwrap_or_default() }
}

/// The metrics that are measured once for each repetition.
fn of_constants(report: &Report) -> Table {
    let of_metric = |metric: &Metric| -> Vec<Vec<Cell>> {
        let panels = report.constant(metric).into_iter().flatten();
        let row = |(&panel, values): (_, &Vec<f64>)| {
            let name = [capitalized(&metric.label), report.panel_title(panel)];
            Some(vec![Cell::plain(name.join(" – ").trim_end_matches(" – ")), summary(Summary::of(values)?)])
        };
        panels.filter_map(row).collect()
    };
    Table {
        title: "The same in every mode and along the variable".into(),
        text: "Measured once for each repetition.".into(),
        keys: 1,
        header: vec![String::new(), "median".into()],
        rows: report.experiment.metrics.iter().flat_map(of_metric).collect(),
    }
}

fn keys_of(point: Point) -> Vec<Cell> {
    let values = point.panel.iter().chain([&point.x]);
    values.map(|value| Cell::plain(number::exact(value.0))).collect()
}

fn summary(summary: Summary) -> Cell {
    let spread = format!("{}–{}", number::short(summary.min), number::short(summary.max));
    let small = if summary.n == 1 { "n 1".into() } else { format!("{spread}, n {}", summary.n) };
    Cell { main: number::short(summary.median), small }
}

fn of_distributions(report: &Report) -> Table {
    let percentiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
    let experiment = &report.experiment;
    let mut header: Vec<String> = experiment.panel.iter().map(|panel| capitalized(&panel.label)).collect();
    header.push(capitalized(&experiment.variable.label));
    header.extend(["mode", "what", "count"].map(str::to_owned));
    let keys = header.len() - 1;
    header.extend(percentiles.map(|(name, _)| name.to_owned()).into_iter().chain(["max".into()]));
    let row = |point: Point, mode: Mode, name: &str, distribution: &Distribution| {
        let mut cells = keys_of(point);
        cells.extend([mode.name(), name].map(Cell::plain));
        cells.push(Cell::plain(number::exact(distribution.count() as f64)));
        cells.extend(percentiles.iter().map(|&(_, share)| {
            Cell::plain(if distribution.knows(share) {
                number::duration(distribution.at(share))
            } else {
                "–".into()
            })
        }));
        cells.push(Cell::plain(number::duration(distribution.max())));
        cells
    };
    let mut rows = Vec::new();
    for point in report.telling_points() {
        for &mode in report.modes() {
            let all = report.distributions(point, mode);
            rows.extend(all.iter().map(|(name, distribution)| row(point, mode, name, distribution)));
        }
    }
    Table {
        title: "Percentiles".into(),
        text: "All repetitions together. A histogram's bucket counts for its smallest value, so that no figure is \
               more than 3.2 % too low. The other points are in the .hgrm files."
            .into(),
        keys,
        header,
        rows,
    }
}

/// Setting of a run, by name.
pub fn setting(report: &Report) -> Vec<(&'static str, String)> {
    let setting = &report.setting;
    let revision = match &setting.git_revision {
        Some(revision) if setting.git_modified => format!("{revision}, modified"),
        Some(revision) => revision.clone(),
        None => "unknown: not in a git checkout".into(),
    };
    vec![
        ("host", setting.host.clone()),
        ("instruction-exact", if setting.exact { "yes" } else { "no" }.into()),
        ("processor", setting.processor.clone()),
        ("host kernel", setting.host_kernel.clone()),
        ("VMM", format!("{} ({})", setting.vmm, setting.vmm_version)),
        ("guest kernel", setting.guest_kernel.clone()),
        ("cores", setting.cores.to_string()),
        ("memory", format!("{} MiB", setting.memory_mib)),
        ("time-stamp counter", format!("{} MHz", setting.tsc_mhz)),
        ("page latency", setting.page_latency.clone()),
        ("evictions", setting.evict.clone()),
        ("seed", setting.seed.to_string()),
        ("revision", revision),
        ("command", setting.command.clone()),
        ("began", setting.began.clone()),
    ]
}
