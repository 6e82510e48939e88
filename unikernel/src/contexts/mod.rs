//! The experiment `contexts`: each context that a fault can interrupt, on real
//! page-ins, one small check for each.
//!
//! | file | its checks |
//! |---|---|
//! | `nested` | a fault of the wait path itself |
//! | `application` | an ordinary task; two at once |
//! | `guard` | inside `NonPreemptible` guards |
//! | `kernel` | a system call that reads evicted memory |
//! | `service` | the service thread itself |
//! | `crowd` | more faults at once than the host lets wait |
//! | `lives` | quiesced while tasks wait; resumed by the watchdog |
//! | `cores` | the experiment `cores`: what passes between cores |
//! | `hostile` | what only a broken host does |
//! | `registers`, `machine` | every register, bit for bit; the assembly |
//! | `own_stack` | the faulting task's stack is out as well; a stack that is not its own |
//! | `bench`, `stack`, `tasks` | what they share |
//!
//! The host pages out *everything* before each check, code and stacks
//! included. Most checks therefore do their work twice on fresh pages: the
//! first time brings in code and stacks, the second has the one fault that
//! the check is about, so that counters can be compared exactly.

mod application;
mod bench;
mod cores;
mod crowd;
mod guard;
mod hostile;
mod kernel;
mod lives;
mod machine;
mod nested;
mod own_stack;
mod registers;
mod service;
mod stack;
mod tasks;

use apf_service::Config;
use apf_vocabulary::Message;
use apf_vocabulary::message::Check;

use crate::host;
use bench::{Bench, Verdict};

type Run = fn(&Bench) -> Verdict;

/// In the order in which they run.
const CHECKS: [(&str, Run); 14] = [
    ("application", application::check),
    ("two_at_once", application::two_at_once),
    ("guard", guard::check),
    ("kernel", kernel::check),
    ("nested", nested::check),
    ("own_stack", own_stack::check),
    ("foreign_stack", own_stack::foreign),
    ("registers_schedule", registers::schedule),
    ("registers_halt", registers::halt),
    ("registers_mixed", registers::mixed),
    ("service", service::check),
    ("crowd", crowd::check),
    ("watchdog", lives::watchdog),
    ("unknown_reason", hostile::unknown_reason),
];

/// After the guest's counts were held against the host's, which counts faults
/// while the service is off as well.
const UNCOUNTED: [(&str, Run); 1] = [("quiesce", lives::quiesce)];

/// The experiment `cores`, which wants two.
const CORES: [(&str, Run); 3] = [
    ("wake_ups", cores::wake_ups),
    ("halt_elsewhere", cores::halt_ready_elsewhere),
    ("schedule_elsewhere", cores::schedule_ready_elsewhere),
];

/// Run only by name: the guest does not survive it.
const LAST_WORDS: [(&str, Run); 1] = [("interrupts_off", hostile::interrupts_off)];

/// Runs the experiment `cores`; `Err` if the service does not start.
pub fn run_cores(seed: u64) -> Result<(), apf_service::StartError> {
    let bench = Bench::new(seed)?;
    CORES.iter().for_each(|check| run_one(&bench, check));
    stop_and_count(&bench);
    Ok(())
}

/// Runs all checks, whatever fails, or the one called `only`; `Err` if the
/// service does not start.
pub fn run(seed: u64, only: Option<&str>) -> Result<(), apf_service::StartError> {
    let bench = Bench::new(seed)?;
    let chosen = |(name, _): &(&str, Run)| only.is_none_or(|only| only == *name);
    let last_words = LAST_WORDS.iter().filter(|(name, _)| only == Some(*name));
    CHECKS.iter().filter(|check| chosen(check)).chain(last_words).for_each(|check| run_one(&bench, check));
    stop_and_count(&bench);
    bench.start(Config::default())?;
    UNCOUNTED.iter().filter(|check| chosen(check)).for_each(|check| run_one(&bench, check));
    bench.stop();
    Ok(())
}

fn stop_and_count(bench: &Bench) {
    bench.stop();
    host::tell(&Message::Counted { counters: host::counters(), played: bench.played.count() });
    // The host answers when it has read its own counts.
    host::restore();
}

fn run_one(bench: &Bench, (name, check): &(&str, Run)) {
    let name = (*name).to_owned();
    host::tell(&Message::CheckBegins { name: name.clone() });
    let before = host::counters();
    let verdict = check(bench);
    host::restore();
    let counts = host::counters().since(&before);
    let passed = verdict.is_ok();
    let (Ok(detail) | Err(detail)) = verdict;
    host::tell(&Message::Check(Check { name, passed, detail, counts }));
}
