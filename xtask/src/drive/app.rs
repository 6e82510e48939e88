//! A program that knows nothing of its host: its console is passed on, its memory evicted by the
//! clock.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::guest::{Guest, Line};
use super::memory::Memory;
use super::sockets::Sockets;
use super::spec::{App, CONSOLE, Ended, Outcome, Spec};
use super::trace::Trace;
use super::vmm::{self, Boots};
use crate::dirs;

/// Start of a line of the program's console, which may look like one of the driver's.
pub const CONSOLE_PREFIX: &str = "@console ";
/// Time between two looks at the pager, whose counts end with the VMM.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the program of `spec` to its end.
///
/// # Errors
/// The VMM does not start it, or ends without an exit code of the program; or its memory cannot be
/// evicted.
pub fn follow(spec: &Spec, app: &App, out: &Path) -> Result<Outcome> {
    let scratch = dirs::scratch("drive")?;
    let sockets = Sockets::new(scratch.path(), 0);
    let trace = Trace::start();
    let unavailable = trace.as_ref().err().map(|error| format!("{error:#}"));
    let mut guest = Guest::start_with_input(vmm::command(spec, &sockets, Boots::Image), &out.join(CONSOLE))?;
    let mut memory = Memory::new(sockets.pager, None, trace.ok(), guest.id());
    let began = Instant::now();
    let mut due = app.evict_after;
    let mut ended = Ended::default();
    let mut looked = began;
    let status = loop {
        match guest.next(LOOK)? {
            Line::Text(line) => println!("{CONSOLE_PREFIX}{line}"),
            Line::None => {}
            Line::End(status) => break status,
        }
        if due.is_some_and(|due| began.elapsed() >= due) {
            due = None;
            match memory.evict_at_will(spec) {
                Ok(_) => {}
                // A program may end before its time.
                Err(_) if guest.has_ended() => {}
                Err(error) => return Err(guest.explain(error)),
            }
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            // Also notes the VMM's threads, whose counts stay when they have ended.
            ended.host = memory.traced().unwrap_or(ended.host);
            ended.pager = memory.paged().unwrap_or(ended.pager);
        }
    };
    ended.elapsed = began.elapsed();
    // An error: it ended before the first look.
    ended.host = memory.traced().unwrap_or(ended.host);
    let Some(code) = vmm::exit_code(spec, status) else {
        bail!("the program did not start or has no exit code ({})", guest.obituary(status));
    };
    ended.exit_code = code;
    let outcome = Outcome { host_trace_unavailable: unavailable, app: Some(ended), ..Outcome::default() };
    Ok(outcome)
}
