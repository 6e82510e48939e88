//! Checks on real page-ins: one small check for each context that a fault can interrupt, and for
//! several cores.
//!
//! | file | checks |
//! |---|---|
//! | `nested` | a fault in the wait of another fault |
//! | `application` | an ordinary task; two at once |
//! | `guard` | inside `NonPreemptible` guards |
//! | `kernel` | a system call that reads the kernel's own memory |
//! | `system_calls` | the buffers of system calls |
//! | `service` | the service thread itself |
//! | `heap` | the program's heap: speed, page-ins, tasks that share its lock |
//! | `crowd` | more faults at once than the host's limit |
//! | `lives` | quiesce, resume and restores while tasks wait; waits ended by the watchdog |
//! | `limits` | halts for a page that takes longer than a halt may |
//! | `cores` | wake-ups and ready events across cores |
//! | `hostile` | events that only a broken host causes; the program plays it |
//! | `attacks` | events that a hostile host causes, at the program's request |
//! | `registers`, `machine` | every register, bit for bit; the assembly |
//! | `own_stack` | a task whose own stack is evicted; a stack that is not the task's |
//! | `bench`, `stack`, `tasks` | shared parts |
//!
//! The host evicts *all* memory before each check, including code and stacks. So most checks do
//! their work twice on fresh pages: the first time brings in code and stacks, the second time has
//! only the fault under test, so that counters can be compared exactly.

mod application;
mod attacks;
mod bench;
mod cores;
mod crowd;
mod guard;
mod heap;
mod hostile;
mod kernel;
mod limits;
mod lives;
mod machine;
mod nested;
mod own_stack;
mod registers;
mod service;
mod stack;
mod system_calls;
mod tasks;

use std::thread;

use apf_vocabulary::Message;
use apf_vocabulary::message::Check;

use crate::host;
use bench::{Bench, Verdict};

type Run = fn(&Bench) -> Verdict;

/// Checks of one core, in the order in which they run.
const CONTEXTS: [(&str, Run); 23] = [
    ("application", application::check),
    ("two_at_once", application::two_at_once),
    ("guard", guard::check),
    ("kernel", kernel::check),
    ("system_calls", system_calls::check),
    ("nested", nested::check),
    ("own_stack", own_stack::check),
    ("foreign_stack", own_stack::foreign),
    ("end_of_stack", own_stack::end_of_stack),
    ("registers_schedule", registers::schedule),
    ("registers_halt", registers::halt),
    ("registers_mixed", registers::mixed),
    ("service", service::check),
    ("crowd", crowd::check),
    ("watchdog", lives::watchdog),
    ("overdue_halt", limits::overdue_halt),
    ("late_page", limits::late_page),
    ("unknown_reason", hostile::unknown_reason),
    ("quiesce", lives::quiesce),
    ("restored", lives::restored),
    ("lost_enable", lives::lost_enable),
    ("lost_vector", lives::lost_vector),
    // Last: with its memory each later eviction would take longer.
    ("heap", heap::check),
];

/// Checks on a host that attacks.
const HOSTILE: [(&str, Run); 10] = [
    ("lose", attacks::lose),
    ("withhold", attacks::withhold),
    ("reorder", attacks::reorder),
    ("repeat", attacks::repeat),
    ("invent", attacks::invent),
    ("flags", attacks::flags),
    ("hide", attacks::hide),
    ("empty", attacks::empty),
    ("flood", attacks::flood),
    ("overrun", attacks::overrun),
];

/// Checks that run only by name: the first ends the guest, the other needs a host that refuses.
const BY_NAME: [(&str, Run); 2] = [("interrupts_off", hostile::interrupts_off), (REFUSED, attacks::refused)];
/// The check in which the service does not start.
const REFUSED: &str = "refused";

/// Checks of several cores.
const CORES: [(&str, Run); 4] = [
    ("wake_ups", cores::wake_ups),
    ("quiesce_together", cores::quiesce_together),
    ("halt_elsewhere", cores::halt_ready_elsewhere),
    ("schedule_elsewhere", cores::schedule_ready_elsewhere),
];

/// Runs the checks with these names, also after a failure: single ones, those of a group, or `all`
/// for this number of cores. A name of no such check is reported as a failed check.
///
/// # Errors
/// The service does not start.
pub fn run(seed: u64, names: &[String]) -> Result<(), apf_service::StartError> {
    host::hello(bench::PAGES);
    let one_core = thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let hostile = names.iter().any(|name| name == "hostile" || HOSTILE.iter().any(|check| check.0 == name));
    let (group, checks) = match (hostile, one_core) {
        (true, _) => ("hostile", &HOSTILE[..]),
        (false, true) => ("contexts", &CONTEXTS[..]),
        (false, false) => ("cores", &CORES[..]),
    };
    let by_name = if one_core { &BY_NAME[..] } else { &[] };
    let is_group = |name: &String| name == "all" || name == group;
    let is_named = |check: &&(&str, Run)| names.iter().any(|name| name == check.0);
    let is_chosen = |check: &&(&str, Run)| names.iter().any(is_group) || is_named(check);

    let bench = Bench::new(seed);
    if names.iter().all(|name| name != REFUSED) {
        bench.start(bench::config())?;
    }
    let known = || checks.iter().chain(by_name).map(|check| check.0);
    for name in names.iter().filter(|name| !is_group(name) && !known().any(|known| known == **name)) {
        let there_are = known().collect::<Vec<_>>().join(", ");
        let detail =
            format!("no check of {group}, the group for this number of cores; its checks are {there_are}");
        host::send(&Message::Check(Check { name: name.clone(), detail, ..Check::default() }));
    }
    let counted = checks.iter().filter(is_chosen).chain(by_name.iter().filter(is_named));
    counted.for_each(|check| run_one(&bench, check));
    bench.stop();
    host::send(&Message::Counted { counters: host::counters(), played: bench.played.count() });
    // The host answers when it has read its own counts.
    host::restore();
    Ok(())
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
