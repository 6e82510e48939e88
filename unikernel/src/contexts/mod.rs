//! The experiment `contexts`: each context that a fault can interrupt, on real
//! page-ins, one small check for each.
//!
//! | file | its checks |
//! |---|---|
//! | `nested` | a fault of the wait path itself |
//! | `application` | an ordinary task; two at once |
//! | `guard` | inside `NonPreemptible` guards |
//! | `kernel` | a system call that reads evicted memory |
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
mod guard;
mod kernel;
mod machine;
mod nested;
mod own_stack;
mod registers;
mod stack;
mod tasks;

use unikernel::wire::{Check, Message};

use crate::host;
use bench::{Bench, Verdict};

type Run = fn(&Bench) -> Verdict;

/// In the order in which they run.
const CHECKS: [(&str, Run); 10] = [
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
];

/// Runs all checks, whatever fails, or the one called `only`; `Err` if the
/// service does not start.
pub fn run(seed: u64, only: Option<&str>) -> Result<(), apf_service::StartError> {
    let service = apf_service::start(apf_service::Config::default())?;
    let bench = Bench::new(seed);
    for (name, check) in CHECKS.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        host::tell(&Message::CheckBegins { name: name.into() });
        let before = host::counters();
        let verdict = check(&bench);
        host::restore();
        let counts = host::counters().since(&before);
        let passed = verdict.is_ok();
        let (Ok(detail) | Err(detail)) = verdict;
        host::tell(&Message::Check(Check { name: name.into(), passed, detail, counts }));
    }
    service.stop();
    Ok(())
}
