//! Checks of each context that a fault can interrupt, on real page-ins, one small check
//! for each.
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
//! | `cores` | what passes between cores |
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

use std::thread;

use apf_service::Config;
use apf_vocabulary::Message;
use apf_vocabulary::message::Check;

use crate::host;
use bench::{Bench, Verdict};

type Run = fn(&Bench) -> Verdict;

/// Checks of one core, in the order in which they run.
const CONTEXTS: [(&str, Run); 14] = [
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

/// Run only by name: the guest does not survive it.
const LAST_WORDS: [(&str, Run); 1] = [("interrupts_off", hostile::interrupts_off)];

/// After the guest's counts were compared with the host's, which counts faults
/// while the service is off as well.
const UNCOUNTED: [(&str, Run); 1] = [("quiesce", lives::quiesce)];

/// Checks of several cores.
const CORES: [(&str, Run); 3] = [
    ("wake_ups", cores::wake_ups),
    ("halt_elsewhere", cores::halt_ready_elsewhere),
    ("schedule_elsewhere", cores::schedule_ready_elsewhere),
];

/// Runs the checks of these names, whatever fails: those of a group, or all that fit the
/// number of cores. A name that does not fit is a check that fails.
///
/// # Errors
/// The service does not start.
pub fn run(seed: u64, names: &[String]) -> Result<(), apf_service::StartError> {
    host::hello(bench::PAGES);
    let one_core = thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let (group, checks, uncounted) =
        if one_core { ("contexts", &CONTEXTS[..], &UNCOUNTED[..]) } else { ("cores", &CORES[..], &[][..]) };
    let last_words = if one_core { &LAST_WORDS[..] } else { &[] };
    let is_group = |name: &String| name == "all" || name == group;
    let is_named = |check: &&(&str, Run)| names.iter().any(|name| name == check.0);
    let is_chosen = |check: &&(&str, Run)| names.iter().any(is_group) || is_named(check);

    let bench = Bench::new(seed)?;
    let known = || checks.iter().chain(last_words).chain(uncounted).map(|check| check.0);
    for name in names.iter().filter(|name| !is_group(name) && !known().any(|known| known == **name)) {
        let there_are = known().collect::<Vec<_>>().join(", ");
        let detail = format!("no check of {group}, which this number of cores runs: {there_are}");
        host::send(&Message::Check(Check { name: name.clone(), detail, ..Check::default() }));
    }
    let counted = checks.iter().filter(is_chosen).chain(last_words.iter().filter(is_named));
    counted.for_each(|check| run_one(&bench, check));
    stop_and_count(&bench);
    let mut uncounted = uncounted.iter().filter(is_chosen).peekable();
    if uncounted.peek().is_some() {
        bench.start(Config::default())?;
        uncounted.for_each(|check| run_one(&bench, check));
        bench.stop();
    }
    Ok(())
}

fn stop_and_count(bench: &Bench) {
    bench.stop();
    host::send(&Message::Counted { counters: host::counters(), played: bench.played.count() });
    // The host answers when it has read its own counts.
    host::restore();
}

fn run_one(bench: &Bench, (name, check): &(&str, Run)) {
    let name = (*name).to_owned();
    host::send(&Message::CheckBegins { name: name.clone() });
    let before = host::counters();
    let verdict = check(bench);
    host::restore();
    let counts = host::counters().since(&before);
    let passed = verdict.is_ok();
    let (Ok(detail) | Err(detail)) = verdict;
    host::send(&Message::Check(Check { name, passed, detail, counts }));
}
