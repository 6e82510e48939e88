//! One experiment, from a plan to its document.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use apf_report::Report;
use apf_report::document::{Document, Mode, Setting};
use apf_vocabulary::grid;

use super::boots::{self, Boot};
use super::definition::{Definition, PagedBy};
use super::document::{self, Sketch};
use super::options::Options;
use super::plan::{Plan, Work};
use super::{accounts, cost, peer};
use crate::drive::record::Record;
use crate::drive::spec::System;
use crate::output;
use crate::place::Place;
use crate::process::guard;
use crate::versions::VERSIONS;

/// Checks whether an experiment can be run here.
pub fn takes(place: &Place, definition: &Definition) -> Result<()> {
    ensure!(
        definition.paged_by == PagedBy::Pager || place.verdict.is_lab(),
        "it runs in the lab only (--host lab): it makes a disk for swap, and sets vm.page-cluster for \
         the whole machine"
    );
    Ok(())
}

/// Runs an experiment and writes its document, also when it is interrupted
/// and there are samples. Returns the document's file.
///
/// # Errors
/// The guest does not reach its end: an earlier document then stays as it is. Or a page was wrong,
/// or guest and host disagree.
pub fn run(place: &Place, plan: &Plan, options: &Options) -> Result<PathBuf> {
    let name = plan.definition.name;
    takes(place, plan.definition)?;
    let folder = options.guest.folder("experiments", name)?;
    document::check(&folder)?;
    println!("\n{name}: {}", plan.definition.question);
    let (git_revision, git_modified) = document::revision();
    let setting = Setting {
        host: place.verdict.name().into(),
        exact: options.host.exact,
        vmm: plan.vmm.name().into(),
        guest_kernel: guest_kernel(place, plan),
        cores: plan.cores,
        memory_mib: plan.memory_mib,
        page_latency: plan.page_latency_text(),
        evict: options.paging.text(),
        seed: options.guest.seed,
        git_revision,
        git_modified,
        command: document::command(),
        began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ..Setting::default()
    };
    let sketch = Sketch { definition: plan.definition, setting };
    let document = if plan.definition.profiled {
        let (samples, record) = cost::run(place, plan, options, &folder)?;
        sketch.fill_with(samples, vec![], &record)
    } else {
        boot_each(place, plan, options, &sketch, &folder)?
    };
    let file = document::write(&document, &folder)?;
    let report = Report::new(document).with_context(|| format!("{}", file.display()))?;
    println!("\n{}\n\nreport: {} (`cargo xtask report` draws it)", summary(&report), file.display());
    accounts::check(&report).map(|()| file)
}

/// Boots each guest of the plan, and returns the document with all samples.
fn boot_each(
    place: &Place,
    plan: &Plan,
    options: &Options,
    sketch: &Sketch,
    folder: &Path,
) -> Result<Document> {
    let run = folder.join("run");
    // An earlier run's samples must not be taken for this one's.
    for number in 0..plan.boots.len() {
        let folder = boots::folder(&run, number, plan.boots.len());
        output::own_folder(&folder)?;
        crate::drive::clean(&folder);
    }
    let farewell = guard::before_leaving({
        let (sketch, run, folder, boots) =
            (sketch.clone(), run.clone(), folder.to_path_buf(), plan.boots.clone());
        move || match sketch.fill(&boots::parts(&run, &boots)) {
            Some(document) => {
                let count = document.samples.len();
                match document::write(&document, &folder) {
                    Ok(file) => eprintln!("{count} finished samples are kept: {}", file.display()),
                    Err(error) => eprintln!("error: {error:#}"),
                }
            }
            None => eprintln!("no sample was finished yet"),
        }
    });
    let loads = if plan.definition.loaded { loads(place, plan, options, &run)? } else { vec![] };
    for (number, boot) in plan.boots.iter().enumerate() {
        let work = Work { experiment: plan.definition.name, axes: &plan.axes, loads: &loads };
        let spec = plan.spec(place, options, boot, &work)?;
        if plan.boots.len() > 1 {
            println!("boot {} of {}: {}", number + 1, plan.boots.len(), names(&boot.modes));
        }
        place.drive(&spec, &boots::folder(&run, number, plan.boots.len()))?;
    }
    drop(farewell);
    let document = sketch.fill(&boots::parts(&run, &plan.boots)).context("no sample at all")?;
    let (samples, ends) = (document.samples.len(), document.boots.len());
    ensure!(samples == plan.samples(), "{samples} samples, not {}", plan.samples());
    ensure!(ends == plan.boots.len(), "{ends} boots compared all pages, not {}", plan.boots.len());
    Ok(document)
}

/// Measures the throughput of both guests, async, and returns the load for all.
fn loads(place: &Place, plan: &Plan, options: &Options, run: &Path) -> Result<Vec<f64>> {
    let capacities = [(System::Hermit, Mode::Async), (System::Linux, Mode::LinuxAsync)].map(
        |(system, mode)| -> Result<Vec<_>> {
            println!("throughput of {}", mode.name());
            let boot = Boot { system, modes: vec![mode], repetitions: 0..1 };
            let folder = run.join(format!("capacity-{}", mode.name()));
            let work = Work { experiment: "capacity", axes: &plan.axes, loads: &[] };
            place.drive(&plan.spec(place, options, &boot, &work)?, &folder)?;
            let samples = Record::read(&folder)?.samples;
            Ok(samples.into_iter().map(|sample| sample.metrics).collect())
        },
    );
    let [hermit, linux] = capacities;
    let loads = peer::loads(&grid::points(&plan.axes), &hermit?, &linux?)?;
    let text: Vec<String> = loads.iter().map(f64::to_string).collect();
    println!("load, 70 % of the slower throughput: {} requests a second", text.join(", "));
    Ok(loads)
}

fn guest_kernel(place: &Place, plan: &Plan) -> String {
    let hermit = format!("Hermit {}", VERSIONS.hermit.kernel);
    match place.tools.linux.get() {
        Ok(linux) if plan.definition.has_linux() => format!("{hermit} and Linux {}", linux.release),
        _ => hermit,
    }
}

fn names(modes: &[Mode]) -> String {
    modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", ")
}

/// Claims and whether they hold; of a single point also its figures.
fn summary(report: &Report) -> String {
    let line = |claim: &apf_report::document::Claim| {
        let verdict = if claim.holds { "holds" } else { "FAILS" };
        format!("  {verdict}  {}\n         {}", claim.text, claim.measured)
    };
    let claims = report.claims.iter().map(line).collect::<Vec<_>>().join("\n");
    let parts = [report.brief().unwrap_or_default(), claims];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}
