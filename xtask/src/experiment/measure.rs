//! One experiment, from a plan to its document.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use apf_report::document::{Document, Mode};
use apf_vocabulary::grid;

use super::boots::{self, Boot};
use super::catalogue::{Definition, PagedBy};
use super::cost;
use super::document::{self, Revision, Sketch};
use super::plan::{Plan, Work};
use super::{Options, peer};
use crate::drive::record::Record;
use crate::drive::spec::{Outcome, Spec, System, Vmm};
use crate::probe::{self, Verdict};
use crate::process::guard;
use crate::run::place;
use crate::setup::{self, Needs, Tools};
use crate::versions::VERSIONS;
use crate::{build, dirs};

/// Where experiments run, and what is booted.
pub struct Place {
    verdict: Verdict,
    pub tools: Tools,
    pub built: build::Built,
    /// The program for Linux and that guest's kernel, if it is one.
    pub linux: Option<(build::linux::Program, PathBuf)>,
}

impl Place {
    /// Sets up what is missing and builds what is not up to date.
    ///
    /// # Errors
    /// Something is missing, or does not compile.
    pub fn prepare(plans: &[Plan], options: &Options) -> Result<Self> {
        let (host, exact) = (options.host, options.exact);
        let verdict = if exact { probe::choose_exact(host) } else { probe::choose(host) }?;
        println!("host: {verdict}");
        let lab = matches!(verdict, Verdict::Lab { .. });
        let needs = |vmm| plans.iter().any(|plan| plan.vmm == vmm);
        let (uhyve, qemu) = (needs(Vmm::Uhyve), needs(Vmm::Qemu));
        let linux = plans.iter().any(|plan| plan.definition.has_linux());
        let tools = setup::ensure(Needs { guest: true, uhyve, qemu, lab, linux, grub: false })?;
        let built = build::all(&tools)?;
        let linux =
            if linux { Some((build::linux::build(&tools)?, tools.linux()?.kernel.clone())) } else { None };
        Ok(Self { verdict, tools, built, linux })
    }

    /// Whether an experiment can be run here.
    ///
    /// # Errors
    /// It cannot.
    pub fn takes(&self, definition: &Definition) -> Result<()> {
        ensure!(
            definition.paged_by == PagedBy::Pager || matches!(self.verdict, Verdict::Lab { .. }),
            "it runs in the lab only (--host lab): it swaps to a scratch disk, and sets vm.page-cluster for \
             the whole machine"
        );
        Ok(())
    }

    /// Runs an experiment and writes its document, also when it is interrupted
    /// and there are samples.
    ///
    /// # Errors
    /// The guest does not come to its end, or a page was wrong. An earlier
    /// document stays as it is.
    pub fn run(&self, plan: &Plan, options: &Options) -> Result<()> {
        let name = plan.definition.name;
        self.takes(plan.definition)?;
        let folder = folder(options, name)?;
        let run = folder.join("run");
        println!("\n{name}: {}", plan.definition.question);
        let sketch = Sketch {
            definition: plan.definition,
            host: self.verdict.name(),
            exact: options.exact,
            vmm: plan.vmm.name(),
            guest_kernel: self.guest_kernel(plan),
            cores: options.smp,
            memory_mib: plan.memory_mib,
            page_latency: plan.page_latency_text(),
            evict: options.evict.clone(),
            seed: options.seed,
            began: SystemTime::now(),
            revision: Revision::here(),
        };
        if plan.definition.profiled {
            let (samples, record) = cost::run(self, plan, options, &folder)?;
            return Self::finish(&sketch.fill_with(samples, &record), &folder);
        }
        // An earlier run's samples must not be taken for this one's.
        for number in 0..plan.boots.len() {
            crate::drive::clean(&boots::folder(&run, number, plan.boots.len()));
        }
        let farewell = guard::before_leaving({
            let (sketch, run, folder, boots) =
                (sketch.clone(), run.clone(), folder.clone(), plan.boots.clone());
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
        let loads = if plan.definition.has_linux() { self.loads(plan, options, &run)? } else { vec![] };
        for (number, boot) in plan.boots.iter().enumerate() {
            let work = Work { experiment: name, axes: &plan.axes, loads: &loads };
            let spec = plan.spec(self, options, boot, &work)?;
            if plan.boots.len() > 1 {
                println!("boot {} of {}: {}", number + 1, plan.boots.len(), names(&boot.modes));
            }
            self.drive(&spec, &boots::folder(&run, number, plan.boots.len()))?;
        }
        drop(farewell);
        let document = sketch.fill(&boots::parts(&run, &plan.boots)).context("no sample at all")?;
        ensure!(
            document.samples.len() == plan.samples(),
            "{} samples, not {}",
            document.samples.len(),
            plan.samples()
        );
        if plan.definition.has_linux() {
            peer::check(&document.samples)?;
        }
        Self::finish(&document, &folder)?;
        let wrong: u64 = document.samples.iter().filter_map(|sample| sample.counts.get("wrong_pages")).sum();
        ensure!(wrong == 0, "{wrong} pages had a wrong content");
        Ok(())
    }

    fn finish(document: &Document, folder: &Path) -> Result<()> {
        let file = document::write(document, folder)?;
        println!("\n{}\n\nreport: {} (`cargo xtask report` draws it)", summary(document), file.display());
        Ok(())
    }

    /// Runs one VM to its end.
    ///
    /// # Errors
    /// It does not come to it, or the service was off.
    pub fn drive(&self, spec: &Spec, folder: &Path) -> Result<Outcome> {
        let outcome = place::drive(spec, &self.verdict, &self.tools, folder)?;
        match &outcome.service_off {
            Some(reason) => bail!("the guest's service stayed off: {reason}"),
            None => Ok(outcome),
        }
    }

    /// Asks both guests, async, what they can serve, and returns the load for all.
    fn loads(&self, plan: &Plan, options: &Options, run: &Path) -> Result<Vec<f64>> {
        let capacities = [(System::Hermit, Mode::Async), (System::Linux, Mode::LinuxAsync)].map(
            |(system, mode)| -> Result<Vec<_>> {
                println!("what {} can serve", mode.name());
                let boot = Boot { system, modes: vec![mode], repetitions: 0..1 };
                let folder = run.join(format!("capacity-{}", mode.name()));
                let work = Work { experiment: "capacity", axes: &plan.axes, loads: &[] };
                self.drive(&plan.spec(self, options, &boot, &work)?, &folder)?;
                let samples = Record::read(&folder)?.samples;
                Ok(samples.into_iter().map(|outcome| outcome.sample.metrics).collect())
            },
        );
        let [hermit, linux] = capacities;
        let loads = peer::loads(&grid::points(&plan.axes), &hermit?, &linux?)?;
        let told: Vec<String> = loads.iter().map(f64::to_string).collect();
        println!("load, 70 % of what the slower one serves: {} requests a second", told.join(", "));
        Ok(loads)
    }

    fn guest_kernel(&self, plan: &Plan) -> String {
        let hermit = format!("Hermit {}", VERSIONS.hermit.kernel);
        match &self.tools.linux {
            Some(linux) if plan.definition.has_linux() => format!("{hermit} and Linux {}", linux.release),
            _ => hermit,
        }
    }
}

fn names(modes: &[Mode]) -> String {
    modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", ")
}

fn folder(options: &Options, name: &str) -> Result<PathBuf> {
    let Some(dir) = &options.out else { return dirs::sub(&format!("experiments/{name}")) };
    let dir = dir.join(name);
    fs::create_dir_all(&dir)
        .and_then(|()| dir.canonicalize())
        .with_context(|| format!("--out {} cannot be a folder", dir.display()))
}

/// What came of its claims.
fn summary(document: &Document) -> String {
    let line = |claim: &apf_report::document::Claim| {
        let verdict = if claim.holds { "holds" } else { "FAILS" };
        format!("  {verdict}  {}\n         {}", claim.text, claim.measured)
    };
    document.claims.iter().map(line).collect::<Vec<_>>().join("\n")
}
