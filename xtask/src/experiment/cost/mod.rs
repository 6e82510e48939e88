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
    falsified_by: "more than 2,500 instructions of the guest for a wait by schedule, or 800 for a halt",
    metrics: &[
        ("guest", "instructions of the guest for each fault", Better::Lower),
        ("not_present", "from the exception to the wait", Better::Lower),
        ("ready", "in the ready interrupt", Better::Lower),
        ("service", "in the service thread", Better::Lower),
        ("scheduling", "putting to sleep, waking, switching", Better::Lower),
        ("kernel", "in the rest of the kernel", Better::Lower),
        ("program", "in the program, reading and comparing", Better::Neither),
        ("host", "instructions of the host for each fault", Better::Neither),
    ],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async],
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
const LATER_MS: f64 = 0.1;
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
        Counted::from(place, &spec, &folder.join(name))
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
            list(&folder.join(format!("{name}.txt")), &instructions, faults)?;
            samples.push(Sample {
                metrics: metrics(&instructions, faults),
                parameters: parameters.clone(),
                ..super::document::sample(&boot(mode, plan.repetitions), 0, many.first()?)
            });
            record = Some(many.record);
        }
    }
    Ok((samples, record.context("nothing to run")?))
}

fn boot(mode: Mode, repetitions: u32) -> Boot {
    Boot { system: System::Hermit, modes: vec![mode], repetitions: 0..repetitions }
}

/// What came of one boot.
struct Counted {
    instructions: Instructions,
    record: Record,
}

impl Counted {
    fn from(place: &Place, spec: &Spec, run: &Path) -> Result<Self> {
        let outcome = place.drive(spec, run)?;
        let record = Record::read(run)?;
        let profile = run.join(PROFILE);
        let profile =
            fs::read_to_string(&profile).with_context(|| format!("cannot read {}", profile.display()))?;
        let functions = Functions::read(&place.built.symbols, outcome.entry)?;
        Ok(Self { instructions: functions.count(&profile)?, record })
    }

    fn first(&self) -> Result<&SampleOutcome> {
        self.record.samples.first().context("the guest measured nothing")
    }

    /// Of all repetitions, as all their instructions are counted. A guest that is stopped
    /// by its faults cannot count them; there is one for each page.
    fn faults(&self, mode: Mode) -> u64 {
        let of = |outcome: &SampleOutcome| match mode {
            Mode::Halt | Mode::Async => outcome.sample.counters.not_present,
            _ => outcome.sample.metrics["pages"] as u64,
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
    let [halt, schedule] = [
        sum(&|outcome| outcome.sample.counters.halt_waits),
        sum(&|outcome| outcome.sample.counters.schedule_waits),
    ];
    let (as_told, otherwise) = match mode {
        Mode::Halt => (halt, schedule),
        Mode::Async => (schedule, halt),
        _ => (faults, halt + schedule),
    };
    ensure!(
        otherwise * 100 < as_told,
        "{otherwise} of {} faults did not wait as in {}",
        as_told + otherwise,
        mode.name()
    );
    Ok(())
}

fn metrics(instructions: &Instructions, faults: u64) -> BTreeMap<String, f64> {
    let each = |count: u64| count as f64 / faults as f64;
    let of = |part: Part| {
        let functions = instructions.guest.iter().filter(|(name, _)| Part::of(name) == part);
        functions.map(|(_, count)| count).sum::<u64>()
    };
    let parts = Part::ALL.into_iter().map(|part| (part.name().to_owned(), each(of(part))));
    let guest = instructions.guest_total() - of(Part::Program);
    let totals = [("guest", guest), ("host", instructions.host)];
    parts.chain(totals.map(|(name, count)| (name.to_owned(), each(count)))).collect()
}

/// Writes the functions down, the dearest first.
fn list(file: &Path, instructions: &Instructions, faults: u64) -> Result<()> {
    let mut lines: Vec<_> = instructions.guest.iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let line = |(name, count): &(&String, &u64)| {
        format!("{:>10.2}  {:<11}  {name}\n", **count as f64 / faults as f64, Part::of(name).name())
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
        unarmed(samples),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where nothing is armed, what the service adds to the guest's code is still asked at
/// each task switch.
fn unarmed(samples: &[Sample]) -> Option<Claim> {
    let share = |sample: &Sample| {
        let own: f64 = [Part::NotPresent, Part::Ready, Part::Service]
            .iter()
            .map(|part| sample.metrics[part.name()])
            .sum();
        own / (sample.metrics["guest"] + sample.metrics[Part::Program.name()])
    };
    let blocked = samples.iter().filter(|sample| sample.mode == Mode::Blocked);
    let most = blocked.map(share).max_by(f64::total_cmp)?;
    Some(Claim {
        text: "where it is off, the service takes at most 0.1 % of the guest's instructions".into(),
        measured: format!("{:.4} %", most * 100.0),
        holds: most <= 0.001,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::tests::sample;

    #[test]
    fn what_is_off_is_held_against_all_that_the_guest_does() {
        let sample = |service: f64| {
            let parts = [("not_present", 1.0), ("ready", 0.0), ("service", service)];
            let totals = [("guest", 500.0), ("program", 9_500.0)];
            sample(Mode::Blocked, &[], &[&parts[..], &totals].concat())
        };
        assert!(unarmed(&[sample(9.0)]).unwrap().holds);
        let claim = unarmed(&[sample(9.0), sample(19.0)]).unwrap();
        assert!(!claim.holds && claim.measured == "0.2000 %", "{}", claim.measured);
    }
}
