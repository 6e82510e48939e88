//! `cost`: the instructions of one fault, counted one by one.
//!
//! In exact mode the emulator counts how often each block of code runs. Two runs that
//! differ only in how many pages they read differ by what the faults cost, and by the
//! reading of the pages; the image's symbols give the function of each block.
//!
//! - [`functions`]: from blocks to functions
//! - [`parts`]: from functions to the parts of a fault

mod functions;
mod parts;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use apf_report::document::{Better, Claim, Mode, Sample};
use apf_vocabulary::grid::{self, Axis, Point};

use super::boots::Boot;
use super::definition::{Definition, LATENCY, PAGES_TO_READ as PAGES, fixed, varied};
use super::options::Options;
use super::plan::{Plan, Work};
use crate::drive::record::Record;
use crate::drive::spec::{PROFILE, Spec, System};
use crate::output::{self, Earlier};
use crate::place::Place;
use functions::{Functions, Instructions};
use parts::Part;

/// The experiment.
pub const DEFINITION: Definition = Definition {
    name: "cost",
    question: "How many instructions does a fault cost, in the guest by part and in all, from the exception until its task runs again, and how many on Linux?",
    variable: (LATENCY, "page latency in ms"),
    baseline: Mode::Halt,
    falsified_by: "more than 2,500 instructions of the guest for a wait by schedule, 800 for a halt, or a \
                   third of Linux's",
    metrics: &[
        ("guest", "instructions of the guest for each fault", Better::Lower),
        ("not_present", "from the exception to the wait", Better::Lower),
        ("ready", "in the ready interrupt", Better::Lower),
        ("service", "in the service thread", Better::Lower),
        ("scheduling", "putting to sleep, waking, switching", Better::Lower),
        ("kernel", "in the rest of the kernel; of Linux, all", Better::Lower),
        ("program", "in the program, reading and comparing", Better::Neither),
        ("host", "instructions of the host for each fault", Better::Neither),
    ],
    modes: &[Mode::Blocked, Mode::Halt, Mode::Async, Mode::LinuxBlocked, Mode::LinuxAsync],
    profiled: true,
    parameters: &[varied(PAGES, &[1024.0], &[10_240.0]), fixed(LATENCY, &[AT_ONCE_MS, LATER_MS])],
    region_mib: 48,
    claims: &[by_schedule, by_halt, beside_linux, unarmed],
    ..Definition::COMMON
};

/// The page is back before the task could block: no task sleeps.
const AT_ONCE_MS: f64 = 0.0;
/// The task blocks, and another has the core until the page is back.
const LATER_MS: f64 = 0.1;
/// All of Linux's own code.
const LINUX: &str = "Linux";
/// Address of the lab's own kernel, which is booted with `nokaslr` (Linux:
/// `__START_KERNEL_map` and `CONFIG_PHYSICAL_START` of x86-64).
const LAB_KERNEL: u64 = 0xffff_ffff_8100_0000;
/// Boots of Linux until its kernel is at an address that is not the lab's; one place in thirty or
/// forty is.
const TRIES: u32 = 4;
/// Pages that both runs of a pair read.
const COMMON: f64 = 256.0;

/// Runs it and returns its samples, and the record that says where.
///
/// # Errors
/// A guest does not reach its end, a page was wrong, or a fault waited in another way.
pub fn run(place: &Place, plan: &Plan, options: &Options, folder: &Path) -> Result<(Vec<Sample>, Record)> {
    let counted = |mode, point: &Point, name: &str| {
        let axes: Vec<_> = point.iter().map(|(name, &value)| Axis::new(name, &[value])).collect();
        let boot = boot(mode, plan.repetitions);
        let work = Work { experiment: DEFINITION.name, axes: &axes, loads: &[] };
        let mut spec = plan.spec(place, options, &boot, &work)?;
        spec.guest_args.push("--always-schedule".into());
        Counted::from(place, mode, &mut spec, &folder.join(name))
    };
    let mut samples = Vec::new();
    let mut record = None;
    for parameters in grid::points(&plan.axes) {
        let pages = parameters[PAGES];
        for &mode in &plan.modes {
            let name = format!("{}-{}-{pages}", mode.name(), parameters[LATENCY]);
            let reading = |pages: f64| {
                Point::from([(LATENCY.to_owned(), parameters[LATENCY]), (PAGES.to_owned(), pages)])
            };
            // Beside each other: an exact lab has one thread, and does not notice the other.
            let (few, many) = thread::scope(|scope| {
                let few = scope.spawn(|| counted(mode, &reading(COMMON), &format!("{name}-few")));
                let many = counted(mode, &reading(COMMON + pages), &format!("{name}-many"));
                (few.join().expect("it does not panic"), many)
            });
            let (few, many) = (few?, many?);
            let instructions = few.instructions.until(&many.instructions);
            let faults = many.faults(mode) - few.faults(mode);
            check(mode, pages * f64::from(plan.repetitions), faults, &many.record)?;
            list(folder, format!("{name}.txt"), mode, &instructions, faults)?;
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

/// Result of one boot.
struct Counted {
    instructions: Instructions,
    record: Record,
}

impl Counted {
    fn from(place: &Place, mode: Mode, spec: &mut Spec, run: &Path) -> Result<Self> {
        let mut outcome = place.drive(spec, run)?;
        for _ in 1..TRIES {
            if outcome.kernel.as_ref().is_none_or(is_apart) {
                break;
            }
            // What the guest does is in its arguments, its own seed as well.
            spec.seed = spec.seed.wrapping_add(1);
            outcome = place.drive(spec, run)?;
        }
        let record = Record::read(run)?;
        let profile = run.join(PROFILE);
        let profile =
            fs::read_to_string(&profile).with_context(|| format!("cannot read {}", profile.display()))?;
        let linux = place.linux.as_ref().filter(|_| mode.is_linux());
        let symbols = linux.map_or(&place.built.symbols, |(program, _)| &program.symbols);
        let mut functions = Functions::read(symbols, outcome.entry)?;
        if linux.is_some() {
            functions = functions.with(&linux_code(outcome.kernel)?, LINUX);
        }
        Ok(Self { instructions: functions.count(&profile)?, record })
    }

    fn first(&self) -> Result<&Sample> {
        self.record.samples.first().context("the guest measured nothing")
    }

    /// Of all repetitions, as all their instructions are counted. Linux does not count
    /// its faults, nor can a guest that is stopped by them; there is one for each page.
    fn faults(&self, mode: Mode) -> u64 {
        let of = |sample: &Sample| match mode {
            Mode::Halt | Mode::Async => sample.counters().not_present,
            _ => sample.metrics["pages"] as u64,
        };
        self.record.samples.iter().map(of).sum()
    }
}

/// Checks the address of Linux's code, as the guest reports it. The lab runs the same kernel, and
/// only addresses distinguish the two: address randomization has moved the guest's.
fn linux_code(reported: Option<Range<u64>>) -> Result<Range<u64>> {
    let code =
        reported.context("the guest did not report where its kernel is (/proc/kallsyms, /proc/iomem)")?;
    ensure!(
        is_apart(&code),
        "{TRIES} times the guest's kernel was where the lab's is: they cannot be distinguished"
    );
    Ok(code)
}

fn is_apart(code: &Range<u64>) -> bool {
    let size = code.end - code.start;
    code.start >= LAB_KERNEL + size || code.end <= LAB_KERNEL
}

/// The part that a function of a guest in `mode` works for.
fn part_of(mode: Mode, function: &str) -> Part {
    match (mode.is_linux(), function) {
        (false, name) => Part::of(name),
        (true, LINUX) => Part::Kernel,
        (true, _) => Part::Program,
    }
}

/// Checks that there was one fault for each page, and that each waited as the mode says: only
/// then is there a figure for a fault.
fn check(mode: Mode, pages: f64, faults: u64, record: &Record) -> Result<()> {
    let sum = |of: &dyn Fn(&Sample) -> u64| record.samples.iter().map(of).sum::<u64>();
    let wrong = sum(&|sample| sample.wrong_pages()) + record.end.map_or(0, |end| end.wrong_pages);
    ensure!(wrong == 0, "{wrong} pages had a wrong content");
    ensure!((faults as f64 - pages).abs() < pages / 100.0, "{faults} faults for {pages} pages");
    let [halt, schedule, ready, read] = [
        sum(&|sample| sample.counters().halt_waits),
        sum(&|sample| sample.counters().schedule_waits),
        sum(&|sample| sample.counters().ready),
        sum(&|sample| sample.metrics["pages"] as u64),
    ];
    let (as_told, otherwise) = match mode {
        Mode::Halt => (halt, schedule),
        Mode::Async => (schedule, halt),
        // Linux counts its ready interrupts only.
        Mode::LinuxAsync => (ready, read.saturating_sub(ready)),
        Mode::Blocked | Mode::LinuxBlocked => (read, ready),
    };
    ensure!(
        otherwise * 100 < as_told,
        "{otherwise} of {} faults did not wait as in {}",
        as_told + otherwise,
        mode.name()
    );
    Ok(())
}

/// Linux's code is one part.
fn metrics(mode: Mode, instructions: &Instructions, faults: u64) -> BTreeMap<String, f64> {
    let each = |count: i64| count as f64 / faults as f64;
    let of = |part: Part| {
        let functions = instructions.guest.iter().filter(|(name, _)| part_of(mode, name) == part);
        functions.map(|(_, count)| count).sum::<i64>()
    };
    let is_told = |part: &Part| !mode.is_linux() || matches!(part, Part::Kernel | Part::Program);
    let parts = Part::ALL.into_iter().filter(is_told).map(|part| (part.name().to_owned(), each(of(part))));
    let guest = instructions.guest_total() - of(Part::Program);
    let totals = [("guest", guest), ("host", instructions.host)];
    parts.chain(totals.map(|(name, count)| (name.to_owned(), each(count)))).collect()
}

/// Writes the list of functions, the most expensive first.
fn list(folder: &Path, name: String, mode: Mode, instructions: &Instructions, faults: u64) -> Result<()> {
    let mut lines: Vec<_> = instructions.guest.iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let line = |(name, count): &(&String, &i64)| {
        format!("{:>10.2}  {:<11}  {name}\n", **count as f64 / faults as f64, part_of(mode, name).name())
    };
    let text: String = lines.iter().map(line).collect();
    let text = format!("instructions for each of {faults} faults, part, function\n{text}");
    output::write(folder, &[(name, text.into_bytes())], Earlier::Keep).map(drop)
}

fn by_schedule(samples: &[Sample]) -> Option<Claim> {
    let text = "a fault that waits by schedule costs the guest at most 2,500 instructions";
    at_most(samples, Mode::Async, 2500.0, text)
}

fn by_halt(samples: &[Sample]) -> Option<Claim> {
    at_most(samples, Mode::Halt, 800.0, "a fault that waits by halt costs the guest at most 800 instructions")
}

fn at_most(samples: &[Sample], mode: Mode, limit: f64, text: &str) -> Option<Claim> {
    let of_mode = samples.iter().filter(|sample| sample.mode == mode);
    let most = of_mode.max_by(|a, b| a.metrics["guest"].total_cmp(&b.metrics["guest"]))?;
    let guest = most.metrics["guest"];
    Some(Claim {
        text: text.into(),
        measured: format!(
            "{guest:.1} instructions of the guest, {:.0} of the host, at {} ms a page",
            most.metrics["host"], most.parameters[LATENCY]
        ),
        holds: guest <= limit,
    })
}

/// Compares Hermit's cost with Linux's. Linux's blocked faults are subtracted from its async ones:
/// timer interrupts during a fault are not part of the fault's cost.
fn beside_linux(samples: &[Sample]) -> Option<Claim> {
    let pairs = samples.iter().filter(|sample| sample.mode == Mode::LinuxAsync).filter_map(|linux| {
        let guest = |mode| {
            let is_beside = |s: &&Sample| s.mode == mode && s.parameters == linux.parameters;
            samples.iter().find(is_beside).map(|sample| sample.metrics["guest"])
        };
        let [hermit, blocked] = [guest(Mode::Async)?, guest(Mode::LinuxBlocked)?];
        Some((hermit, linux.metrics["guest"] - blocked, linux.parameters[LATENCY]))
    });
    let (hermit, linux, latency) = pairs.min_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)))?;
    let times = linux / hermit;
    Some(Claim {
        text: "a fault that waits by schedule costs the guest at most a third of what one costs Linux".into(),
        measured: format!(
            "{hermit:.0} of Linux's {linux:.0} instructions, 1/{times:.2}, at {latency} ms a page"
        ),
        holds: times >= 3.0,
    })
}

/// Limits the cost of the service while it is off: each task switch still checks it.
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
    fn linux_is_charged_with_what_it_does_not_do_when_blocked() {
        let of = |mode, latency, guest| sample(mode, &[(LATENCY, latency)], &[("guest", guest)]);
        let samples = [
            of(Mode::Async, 0.0, 1000.0),
            of(Mode::LinuxAsync, 0.0, 4000.0),
            of(Mode::LinuxBlocked, 0.0, 500.0),
            of(Mode::Async, 0.1, 2000.0),
            of(Mode::LinuxAsync, 0.1, 6000.0),
            of(Mode::LinuxBlocked, 0.1, 1000.0),
        ];
        let claim = beside_linux(&samples).unwrap();
        assert!(!claim.holds && claim.measured.contains("2000 of Linux's 5000"), "{}", claim.measured);
        assert!(beside_linux(&samples[..3]).unwrap().holds);
        assert!(beside_linux(&samples[..2]).is_none());
    }

    #[test]
    fn two_kernels_in_one_place_are_refused() {
        let at = |start: u64| linux_code(Some(start..start + 0x100_0000));
        assert!(at(LAB_KERNEL + 0x100_0000).is_ok() && at(LAB_KERNEL - 0x100_0000).is_ok());
        assert!(at(LAB_KERNEL).is_err() && at(LAB_KERNEL + 0x20_0000).is_err() && linux_code(None).is_err());
    }

    #[test]
    fn a_service_that_is_off_is_compared_with_all_that_the_guest_does() {
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
