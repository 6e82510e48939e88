//! One experiment, from a plan to its document.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use apf_report::document::{Document, Mode};
use unikernel::grid::{self, Axis};

use super::Options;
use super::catalogue::{Definition, Effort};
use super::cost;
use super::document::{self, Revision, Sketch};
use crate::drive::latency::PageLatency;
use crate::drive::record::Record;
use crate::drive::spec::{Outcome, Spec};
use crate::probe::{self, Verdict};
use crate::process::guard;
use crate::run::{fit_for_exact, place, vmm_program};
use crate::setup::{self, Needs, Tools};
use crate::{build, dirs, guest_memory};

/// Parameter that is the page latency, where an experiment varies it.
const LATENCY: &str = "page_latency_ms";

/// What one experiment is going to measure.
pub struct Plan {
    pub definition: &'static Definition,
    memory_mib: u32,
    pub axes: Vec<Axis>,
    pub repetitions: u32,
    sample: Duration,
    /// For page-ins that no parameter says the latency of.
    page_latency: PageLatency,
    /// Whether the user's latency takes the place of the parameter's.
    latency_is_given: bool,
}

impl Plan {
    /// The plan of `definition` as the options change it.
    ///
    /// # Errors
    /// An option does not fit the experiment.
    pub fn new(definition: &'static Definition, options: &Options) -> Result<Self> {
        if options.exact {
            fit_for_exact(options.vmm, options.smp)?;
        }
        ensure!(
            options.exact || !definition.profiled,
            "{} counts instructions: it takes --exact",
            definition.name
        );
        let (effort, sample_ms, repetitions) =
            if options.quick { (Effort::Quick, 700, 2) } else { (Effort::Full, 2000, 5) };
        let mut axes = (definition.axes)(effort);
        for given in &options.at {
            let known: Vec<_> = axes.iter().map(|axis| axis.name.clone()).collect();
            let axis = axes.iter_mut().find(|axis| axis.name == given.name).with_context(|| {
                format!("--at {given}: {} has no such parameter, but {}", definition.name, known.join(", "))
            })?;
            axis.clone_from(given);
        }
        let memory_mib = memory_mib(definition, options)?;
        let room = guest_memory::room(memory_mib);
        let most = axes.iter().filter(|axis| axis.name.contains("tasks")).flat_map(|axis| &axis.values);
        let most = most.fold(0.0, |a: f64, b| a.max(*b));
        ensure!(
            most <= room,
            "{}: {most} tasks are more than {memory_mib} MiB have room for ({room:.0}): give --memory or fewer",
            definition.name
        );
        if let (Some(latency), Some(axis)) =
            (&options.page_latency, axes.iter_mut().find(|axis| axis.name == LATENCY))
        {
            axis.values = vec![latency.mean().as_secs_f64() * 1000.0];
        }
        let longest_ms = axes.iter().filter(|axis| axis.name == LATENCY).flat_map(|axis| &axis.values);
        ensure!(
            longest_ms.clone().all(|ms| *ms <= 10_000.0),
            "--at {LATENCY}: above 10s is not an experiment"
        );
        let longest = Duration::from_secs_f64(longest_ms.fold(0.0, |a: f64, b| a.max(*b)) / 1000.0);
        let page_latency = options.page_latency.clone().unwrap_or_else(|| PageLatency::constant(longest));
        options.evict.leaves_time_for(page_latency.mean())?;
        Ok(Self {
            definition,
            memory_mib,
            axes,
            repetitions: options.repetitions.unwrap_or(repetitions),
            sample: Duration::from_millis(sample_ms),
            page_latency,
            latency_is_given: options.page_latency.is_some(),
        })
    }

    /// How many samples it has.
    fn samples(&self) -> usize {
        grid::points(&self.axes).len() * self.definition.modes.len() * self.repetitions as usize
    }

    /// For what no parameter says: a value, or where it is varied.
    fn page_latency_text(&self) -> String {
        let varied = !self.latency_is_given && self.axes.iter().any(|axis| axis.name == LATENCY);
        if varied { format!("the parameter {LATENCY}") } else { self.page_latency.to_string() }
    }

    /// The VM that measures these modes at the points of these axes.
    ///
    /// # Errors
    /// The VMM is not there.
    pub fn spec(&self, place: &Place, options: &Options, modes: &[Mode], axes: &[Axis]) -> Result<Spec> {
        let modes: Vec<_> = modes.iter().map(|mode| mode.name()).collect();
        let region_mib = self.definition.region_mib;
        let mut guest_args: Vec<String> = [
            ("--experiment", self.definition.name.to_owned()),
            ("--modes", modes.join(",")),
            ("--repetitions", self.repetitions.to_string()),
            ("--sample-ms", self.sample.as_millis().to_string()),
            ("--region-mib", region_mib.to_string()),
            ("--seed", options.seed.to_string()),
            ("--log", "warn".to_owned()),
        ]
        .into_iter()
        .chain(axes.iter().map(|axis| ("--at", axis.to_string())))
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        guest_args.extend(self.latency_is_given.then(|| "--latency-is-given".to_owned()));
        // Several times what a sample takes on an idle machine, making tasks included.
        let each = self.sample * 5 + self.page_latency.mean() * 60 + Duration::from_secs(10);
        Ok(Spec {
            vmm: options.vmm,
            exact: options.exact,
            profile: self.definition.profiled,
            program: vmm_program(options.vmm, &place.tools)?,
            image: place.built.image.clone(),
            loader: place.built.loader.clone(),
            pager: place.built.pager.clone(),
            memory_mib: self.memory_mib,
            cores: options.smp,
            page_latency: self.page_latency.clone(),
            evict: options.evict.clone(),
            seed: options.seed,
            pages: 0,
            region_pages: region_mib * 256,
            samples_s: each.as_secs() * self.samples() as u64,
            show_console: options.console,
            vmm_args: vec![],
            guest_args,
        })
    }
}

/// Where experiments run, and what is booted.
pub struct Place {
    verdict: Verdict,
    tools: Tools,
    built: build::Built,
}

impl Place {
    /// Sets up what is missing and builds what is not up to date.
    ///
    /// # Errors
    /// Something is missing, or does not compile.
    pub fn prepare(options: &Options) -> Result<Self> {
        let (host, exact) = (options.host, options.exact);
        let verdict = if exact { probe::choose_exact(host) } else { probe::choose(host) }?;
        println!("host: {verdict}");
        let lab = matches!(verdict, Verdict::Lab { .. });
        let (uhyve, qemu) = match options.vmm {
            crate::drive::spec::Vmm::Uhyve => (true, false),
            crate::drive::spec::Vmm::Qemu => (false, true),
        };
        let tools = setup::ensure(Needs { guest: true, uhyve, qemu, lab, grub: false })?;
        let built = build::all(&tools)?;
        Ok(Self { verdict, tools, built })
    }

    /// Runs an experiment and writes its document, also when it is interrupted
    /// and there are samples.
    ///
    /// # Errors
    /// The guest does not come to its end, or a page was wrong. An earlier
    /// document stays as it is.
    pub fn run(&self, plan: &Plan, options: &Options) -> Result<()> {
        let name = plan.definition.name;
        let folder = folder(options, name)?;
        let run = folder.join("run");
        println!("\n{name}: {}", plan.definition.question);
        let spec = plan.spec(self, options, plan.definition.modes, &plan.axes)?;
        let sketch = Sketch {
            definition: plan.definition,
            host: self.verdict.name(),
            exact: options.exact,
            vmm: options.vmm.name(),
            cores: options.smp,
            memory_mib: spec.memory_mib,
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
        crate::drive::clean(&run);
        let farewell = guard::before_leaving({
            let (sketch, run, folder) = (sketch.clone(), run.clone(), folder.clone());
            move || match Record::read(&run) {
                Ok(record) if !record.samples.is_empty() => {
                    let count = record.samples.len();
                    match document::write(&sketch.fill(&record), &folder) {
                        Ok(file) => eprintln!("{count} finished samples are kept: {}", file.display()),
                        Err(error) => eprintln!("error: {error:#}"),
                    }
                }
                _ => eprintln!("no sample was finished yet"),
            }
        });
        self.drive(&spec, &run)?;
        drop(farewell);
        let record = Record::read(&run)?;
        ensure!(
            record.samples.len() == plan.samples(),
            "{} samples, not {}",
            record.samples.len(),
            plan.samples()
        );
        Self::finish(&sketch.fill(&record), &folder)?;
        let wrong: u64 = record.samples.iter().map(|outcome| outcome.sample.wrong_pages).sum();
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

    /// The image with its symbols.
    pub fn symbols(&self) -> &Path {
        &self.built.symbols
    }
}

fn memory_mib(definition: &Definition, options: &Options) -> Result<u32> {
    let Some(memory) = options.memory else { return Ok(definition.memory_mib) };
    let mib = memory.as_u64() >> 20;
    ensure!((128..=2048).contains(&mib), "--memory {memory}: from 128MiB to 2GiB");
    Ok(u32::try_from(mib)?)
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

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    fn plan(args: &[&str]) -> Result<Plan> {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let cli = <Cli as clap::Parser>::try_parse_from([&["x"], args].concat())?;
        Plan::new(catalogue::find("overlap")?, &cli.options)
    }

    #[test]
    fn options_change_the_plan() {
        let plan =
            plan(&["--quick", "--at", "tasks=1,16", "--at", "page_latency_ms=5", "--repetitions", "3"]);
        let plan = plan.unwrap();
        assert_eq!((plan.samples(), plan.repetitions), (2 * 3 * 3, 3));
        assert_eq!(plan.page_latency_text(), "the parameter page_latency_ms");
    }

    #[test]
    fn a_given_latency_takes_the_place_of_the_parameter() {
        let plan = plan(&["--quick", "--page-latency", "uniform:1ms..5ms"]).unwrap();
        assert_eq!(plan.axes[0].to_string(), "page_latency_ms=3");
        assert_eq!(plan.page_latency_text(), "uniform:1ms..5ms");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        for (args, named) in [
            (["--at", "task=1"], "no such parameter, but page_latency_ms, tasks"),
            (["--at", "tasks=9999"], "room for"),
            (["--memory", "3GiB"], "2GiB"),
            (["--at", "page_latency_ms=20000"], "10s"),
            (["--at", "tasks=x"], "`x`"),
            (["--page-latency", "uniform:5ms"], "uniform:1ms..5ms"),
            (["--evict", "fraction:2"], "at most 1"),
            (["--evict", "periodic:400ms"], "10 page-ins of 50ms"),
        ] {
            let error = format!("{:#}", plan(&args).err().unwrap());
            assert!(error.contains(named), "{error}");
        }
        for (args, named) in
            [(["--exact", "--vmm", "qemu"], "under uhyve only"), (["--exact", "--smp", "2"], "one core")]
        {
            let error = plan(&args).err().unwrap();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
