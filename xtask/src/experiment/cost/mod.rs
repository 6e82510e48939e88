//! `cost`: the instructions of one fault, counted one by one.
//!
//! In exact mode the emulator counts how often each block of code runs. Two runs that
//! differ only in how many pages they read differ by what the faults cost, and by the
//! reading of the pages; the image's symbols tell which function each block belongs to.
//!
//! - [`functions`]: from blocks to functions
//! - [`parts`]: from functions to the parts of a fault

mod functions;
mod parts;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use apf_report::document::{Better, Claim, Mode, Sample};
use unikernel::grid::{self, Axis, Point};

use super::Options;
use super::boots::Boot;
use super::catalogue::{Definition, Effort, PagedBy};
use super::measure::Place;
use super::plan::{Plan, Work};
use crate::drive::record::{Record, SampleOutcome};
use crate::drive::spec::{PROFILE, Spec, System};
use functions::{Functions, Instructions};
use parts::Part;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "cost",
    question: "How many instructions does a fault cost, in the guest by part and in all, from the exception until its task runs again?",
    variable: (LATENCY, "page latency in ms"),
    panel: None,
    baseline: Mode::Halt,
    falsified_by: "more than 2,500 instructions of the guest for a wait by schedule, 800 for a halt, or a \
                   third of Linux's",
    metrics: &[
        ("guest", "instructions of the guest for each fault", Better::Lower),
        ("not_present", "from the exception to the wait", Better::Lower),
        ("ready", "in the ready interrupt", Better::Lower),
        ("service", "in the service thread", Better::Lower),
        ("scheduling", "putting to sleep, waking, switching", Better::Lower),
        ("kernel", "in the rest of the kernel", Better::Lower),
        ("program", "in the program, reading and comparing", Better::Neither),
        ("host", "instructions of the host for each fault", Better::Neither),
        (BESIDE, "instructions of guest and host beside the program", Better::Lower),
    ],
    modes: &[Mode::Halt, Mode::Async, Mode::LinuxAsync],
    profiled: true,
    axes,
    region_mib: 48,
    memory_mib: 256,
    paged_by: PagedBy::Pager,
    references: |_, _| vec![],
    claims,
};

const PAGES: &str = "pages";
const LATENCY: &str = "page_latency_ms";
/// The page is back before the task could block: nobody is put to sleep.
const AT_ONCE_MS: f64 = 0.0;
/// The task blocks, and another has the core until the page is back.
const LATER_MS: f64 = 0.5;
/// What a fault takes of guest and host, the program apart.
const BESIDE: &str = "beside_program";
/// Pages that both runs of a pair read.
const COMMON: f64 = 256.0;

fn axes(effort: Effort) -> Vec<Axis> {
    let pages = match effort {
        Effort::Quick => 1024.0,
        Effort::Full => 10_240.0,
    };
    vec![Axis::new(PAGES, &[pages]), Axis::new(LATENCY, &[AT_ONCE_MS, LATER_MS])]
}

/// Runs it and returns its samples, and the record that says where.
///
/// # Errors
/// A guest does not come to its end, a page was wrong, or a wait was not as it should be.
pub fn run(place: &Place, plan: &Plan, options: &Options, folder: &Path) -> Result<(Vec<Sample>, Record)> {
    let counted = |mode, point: &Point, name: &str| {
        let axes: Vec<_> = point.iter().map(|(name, &value)| Axis::new(name, &[value])).collect();
        let boot = boot(mode, plan.repetitions);
        let work = Work { experiment: DEFINITION.name, axes: &axes, loads: &[] };
        let mut spec = plan.spec(place, options, &boot, &work)?;
        spec.guest_args.push("--always-schedule".into());
        Counted::from(place, mode, &spec, &folder.join(name))
    };
    let mut samples = Vec::new();
    let mut record = None;
    for parameters in grid::points(&plan.axes) {
        let pages = parameters[PAGES];
        for &mode in plan.definition.modes {
            let name = format!("{}-{}-{pages}", mode.name(), parameters[LATENCY]);
            let reading = |pages: f64| {
                Point::from([(LATENCY.to_owned(), parameters[LATENCY]), (PAGES.to_owned(), pages)])
            };
            let few = counted(mode, &reading(COMMON), &format!("{name}-few"))?;
            let many = counted(mode, &reading(COMMON + pages), &format!("{name}-many"))?;
            let instructions = few.instructions.until(&many.instructions);
            let faults = many.faults(mode) - few.faults(mode);
            check(mode, pages * f64::from(plan.repetitions), faults, &many.record)?;
            list(&folder.join(format!("{name}.txt")), mode, &instructions, faults)?;
            samples.push(Sample {
                metrics: metrics(mode, &instructions, faults),
                parameters: parameters.clone(),
                ..super::document::sample(&boot(mode, plan.repetitions), 0, many.first()?)
            });
            record = Some(many.record);
        }
    }
    Ok((samples, record.context("nothing to run")?))
}

fn boot(mode: Mode, repetitions: u32) -> Boot {
    let system = if mode.is_linux() { System::Linux } else { System::Hermit };
    Boot { system, modes: vec![mode], repetitions: 0..repetitions }
}

/// What came of one boot.
struct Counted {
    instructions: Instructions,
    record: Record,
}

impl Counted {
    fn from(place: &Place, mode: Mode, spec: &Spec, run: &Path) -> Result<Self> {
        let outcome = place.drive(spec, run)?;
        let record = Record::read(run)?;
        let profile = run.join(PROFILE);
        let profile =
            fs::read_to_string(&profile).with_context(|| format!("cannot read {}", profile.display()))?;
        let linux = place.linux.as_ref().filter(|_| mode.is_linux());
        let symbols = linux.map_or(&place.built.symbols, |(program, _)| &program.symbols);
        let functions = Functions::read(symbols, outcome.entry)?;
        Ok(Self { instructions: functions.count(&profile)?, record })
    }

    fn first(&self) -> Result<&SampleOutcome> {
        self.record.samples.first().context("the guest measured nothing")
    }

    /// Of all repetitions, as all their instructions are counted. Linux does not count
    /// its faults, but there is one for each page.
    fn faults(&self, mode: Mode) -> u64 {
        let of = |outcome: &SampleOutcome| {
            let sample = &outcome.sample;
            if mode.is_linux() { sample.metrics["pages"] as u64 } else { sample.counters.not_present }
        };
        self.record.samples.iter().map(of).sum()
    }
}

/// A figure for a fault means something only if there was one for each page, and it waited
/// as it was told to.
fn check(mode: Mode, pages: f64, faults: u64, record: &Record) -> Result<()> {
    let sum = |of: &dyn Fn(&SampleOutcome) -> u64| record.samples.iter().map(of).sum::<u64>();
    let wrong = sum(&|outcome| outcome.sample.wrong_pages);
    ensure!(wrong == 0, "{wrong} pages had a wrong content");
    ensure!((faults as f64 - pages).abs() < pages / 100.0, "{faults} faults for {pages} pages");
    let [halt, schedule, ready] = [
        sum(&|outcome| outcome.sample.counters.halt_waits),
        sum(&|outcome| outcome.sample.counters.schedule_waits),
        sum(&|outcome| outcome.sample.counters.ready),
    ];
    let (as_told, otherwise) = match mode {
        Mode::Halt => (halt, schedule),
        // Linux tells of its ready interrupts only. They are fewer than pages where one
        // brings several.
        Mode::LinuxAsync => (ready, 0),
        _ => (schedule, halt),
    };
    ensure!(as_told > 0, "{}: no fault was async", mode.name());
    ensure!(
        otherwise * 100 < as_told,
        "{otherwise} of {} faults did not wait by {}",
        as_told + otherwise,
        mode.name()
    );
    Ok(())
}

/// Of Linux only the program can be told from the host, which its kernel counts to.
fn metrics(mode: Mode, instructions: &Instructions, faults: u64) -> BTreeMap<String, f64> {
    let each = |count: u64| count as f64 / faults as f64;
    let of = |part: Part| {
        let functions = instructions.guest.iter().filter(|(name, _)| Part::of(name) == part);
        functions.map(|(_, count)| count).sum::<u64>()
    };
    if mode.is_linux() {
        let (program, beside) = (each(instructions.guest_total()), each(instructions.host));
        return [("program".to_owned(), program), (BESIDE.to_owned(), beside)].into();
    }
    let parts = Part::ALL.into_iter().map(|part| (part.name().to_owned(), each(of(part))));
    let guest = instructions.guest_total() - of(Part::Program);
    let totals = [("guest", guest), ("host", instructions.host), (BESIDE, guest + instructions.host)];
    parts.chain(totals.map(|(name, count)| (name.to_owned(), each(count)))).collect()
}

/// Writes the functions down, the dearest first.
fn list(file: &Path, mode: Mode, instructions: &Instructions, faults: u64) -> Result<()> {
    let mut lines: Vec<_> = instructions.guest.iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let part = |name: &str| if mode.is_linux() { Part::Program } else { Part::of(name) };
    let line = |(name, count): &(&String, &u64)| {
        format!("{:>10.2}  {:<11}  {name}\n", **count as f64 / faults as f64, part(name).name())
    };
    let text: String = lines.iter().map(line).collect();
    fs::write(file, format!("instructions for each of {faults} faults, part, function\n{text}"))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn claims(samples: &[Sample], _cores: u32) -> Vec<Claim> {
    let claim = |mode: Mode, limit: f64, text: &str| {
        let of_mode = samples.iter().filter(|sample| sample.mode == mode);
        let dearest = of_mode.max_by(|a, b| a.metrics["guest"].total_cmp(&b.metrics["guest"]))?;
        let guest = dearest.metrics["guest"];
        Some(Claim {
            text: text.into(),
            measured: format!(
                "{guest:.1} instructions of the guest, {:.0} of the host, at {} ms a page",
                dearest.metrics["host"], dearest.parameters[LATENCY]
            ),
            holds: guest <= limit,
        })
    };
    [
        claim(
            Mode::Async,
            2500.0,
            "a fault that waits by schedule costs the guest at most 2,500 instructions",
        ),
        claim(Mode::Halt, 800.0, "a fault that waits by halt costs the guest at most 800 instructions"),
        beside_linux(samples),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Linux's share is what is left when the host's for Hermit, async at the same latency, is
/// taken off.
fn beside_linux(samples: &[Sample]) -> Option<Claim> {
    let pairs = samples.iter().filter(|sample| sample.mode == Mode::LinuxAsync).filter_map(|linux| {
        let is_pair = |s: &&Sample| s.mode == Mode::Async && s.parameters == linux.parameters;
        let hermit = samples.iter().find(is_pair)?;
        let linux = linux.metrics[BESIDE] - hermit.metrics["host"];
        Some((linux / hermit.metrics["guest"], linux, hermit))
    });
    let (times, linux, hermit) = pairs.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Claim {
        text: "a fault costs the guest at most a third of what it costs a guest with Linux".into(),
        measured: format!(
            "{:.0} instructions, and {linux:.0} of Linux, {times:.1} times as many, at {} ms a page",
            hermit.metrics["guest"], hermit.parameters[LATENCY]
        ),
        holds: times >= 3.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn linux_is_charged_with_what_the_host_does_not_take_for_hermit() {
        let samples = [
            sample(Mode::Async, &[(LATENCY, 0.0)], &[("guest", 1000.0), ("host", 50_000.0)]),
            sample(Mode::LinuxAsync, &[(LATENCY, 0.0)], &[(BESIDE, 54_000.0)]),
            sample(Mode::Async, &[(LATENCY, 0.5)], &[("guest", 2000.0), ("host", 50_000.0)]),
            sample(Mode::LinuxAsync, &[(LATENCY, 0.5)], &[(BESIDE, 55_000.0)]),
        ];
        let claim = beside_linux(&samples).unwrap();
        assert!(
            !claim.holds && claim.measured.contains("2.5 times as many, at 0.5 ms"),
            "{}",
            claim.measured
        );
        assert!(beside_linux(&samples[..2]).unwrap().holds);
        assert!(beside_linux(&samples[..1]).is_none());
    }
}
