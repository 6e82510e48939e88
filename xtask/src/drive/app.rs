//! A program that knows nothing of its host: its console is passed on, its memory evicted by the
//! clock, or when its client asks for it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::client::{self, Client, Request, RunningClient};
use super::guest::{Guest, Line};
use super::memory::Memory;
use super::moving::Moving;
use super::sockets::Sockets;
use super::spec::{App, CONSOLE, Ended, Outcome, Spec};
use super::trace::Trace;
use super::vmm::{self, Boots};
use crate::dirs;

/// Start of a line of the program's console, or of its client, which may look like one of the driver's.
pub const CONSOLE_PREFIX: &str = "@console ";
/// Time between two looks at the client's output.
const TURN: Duration = Duration::from_millis(20);
/// Time for a client to end when the program has.
const CLIENT_END_LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks at the counts, of which the pager's end with the VMM.
const LOOK: Duration = Duration::from_millis(100);

/// A program under way.
struct Run<'a> {
    spec: &'a Spec,
    app: &'a App,
    /// Log of the client's output.
    log: PathBuf,
    guest: Guest,
    memory: Memory,
    /// If the guest may move.
    moving: Option<Moving>,
    client: Option<RunningClient>,
    ended: Ended,
}

/// Runs the program of `spec` to its end, or to that of its client.
///
/// # Errors
/// The VMM does not start it, or ends without an exit code of the program; its memory cannot be
/// evicted; or its client does not end.
pub fn follow(spec: &Spec, app: &App, out: &Path) -> Result<Outcome> {
    let scratch = dirs::scratch("drive")?;
    let sockets = Sockets::new(scratch.path(), 0);
    let trace = Trace::start();
    let unavailable = trace.as_ref().err().map(|error| format!("{error:#}"));
    // A console that goes on in another VMM has no input.
    let start = if spec.may_move() { Guest::start_to_move } else { Guest::start_with_input };
    let guest = start(vmm::command(spec, &sockets, Boots::Image), &out.join(CONSOLE))?;
    let moving = spec.may_move().then(|| Moving::new(scratch.path(), &sockets)).transpose()?;
    let mut memory = Memory::new(sockets.pager, None, trace.ok(), guest.id());
    memory.set_latency(&spec.page_latency.model, spec.seed);
    memory.set_working_set(app.working_set.clone());
    let log = out.join(client::LOG);
    let run = Run { spec, app, log, guest, memory, moving, client: None, ended: Ended::default() };
    let ended = run.follow()?;
    let outcome = Outcome { host_trace_unavailable: unavailable, app: Some(ended), ..Outcome::default() };
    Ok(outcome)
}

impl Run<'_> {
    fn follow(mut self) -> Result<Ended> {
        let began = Instant::now();
        let (mut due, mut looked) = (self.app.evict_after, began);
        if self.app.client.as_ref().is_some_and(|client| client.at.is_none()) {
            self.start_client()?;
        }
        let status = loop {
            match self.guest.next(if self.app.client.is_some() { TURN } else { LOOK })? {
                Line::Text(line) => self.heard(&line)?,
                Line::None => {}
                Line::End(status) => break Some(status),
            }
            if self.serve_client()? {
                break None;
            }
            if due.is_some_and(|due| began.elapsed() >= due) {
                due = None;
                self.unless_ended(|memory, spec| memory.evict_at_will(spec))?;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
        };
        self.ended.elapsed = began.elapsed();
        self.look();
        if let Some(status) = status {
            self.ended.exit_code = Some(self.exit_code(status)?);
        }
        self.end_client()?;
        Ok(self.ended)
    }

    /// Waits for the end of the client, which notices that of the program.
    fn end_client(&mut self) -> Result<()> {
        if self.client.is_none() && self.app.client.is_some() {
            let code = self.ended.exit_code.unwrap_or_default();
            bail!("the program ended, with exit code {code}, before its client could start");
        }
        let began = Instant::now();
        while self.client.is_some() && self.ended.client_exit_code.is_none() {
            ensure!(began.elapsed() < CLIENT_END_LIMIT, "the program has ended, and its client does not");
            thread::sleep(TURN);
            self.serve_client()?;
        }
        Ok(())
    }

    fn exit_code(&self, status: ExitStatus) -> Result<u8> {
        let code = vmm::exit_code(self.spec, status);
        code.with_context(|| {
            let end = self.guest.obituary(status);
            format!("the program did not start or has no exit code ({end})")
        })
    }

    /// Passes a line of the program on, and starts the client that waits for it.
    fn heard(&mut self, line: &str) -> Result<()> {
        println!("{CONSOLE_PREFIX}{line}");
        let waits_for_it = |client: &Client| client.at.as_ref().is_some_and(|text| line.contains(text));
        if self.client.is_none() && self.app.client.as_ref().is_some_and(waits_for_it) {
            self.start_client()?;
        }
        Ok(())
    }

    fn start_client(&mut self) -> Result<()> {
        self.client = self.app.client.as_ref().map(|client| client.start(&self.log)).transpose()?;
        Ok(())
    }

    /// Passes the client's lines on and does what it asks for; returns whether it has ended, and the
    /// program with it.
    fn serve_client(&mut self) -> Result<bool> {
        while let Some(client) = &mut self.client {
            let line = match client.next()? {
                Line::Text(line) => line,
                Line::None => break,
                Line::End(status) => {
                    self.ended.client_exit_code = Some(client::exit_code(status));
                    // It may have told the program to end, which then has an exit code.
                    return Ok(!self.guest.has_ended());
                }
            };
            let reply = match Request::of(&line) {
                None => {
                    println!("{CONSOLE_PREFIX}{line}");
                    continue;
                }
                Some(Request::Evict) => {
                    self.unless_ended(|memory, spec| memory.evict_at_will(spec))?.to_string()
                }
                Some(Request::Learn) => {
                    let pages = self.unless_ended(|memory, _| memory.learn_working_set())?;
                    self.ended.learnt = Some(self.memory.working_set().to_vec());
                    pages.to_string()
                }
                Some(Request::Restore) => self.restore()?.to_string(),
                Some(Request::Counts) => self.counts()?,
            };
            if let Some(client) = &mut self.client {
                client.reply(&reply);
            }
        }
        Ok(false)
    }

    /// Has the pager do something and returns the number of pages; none of a program that has ended.
    fn unless_ended(&mut self, act: impl FnOnce(&mut Memory, &Spec) -> Result<u64>) -> Result<u64> {
        match act(&mut self.memory, self.spec) {
            Ok(pages) => Ok(pages),
            // A program may end before its time.
            Err(_) if self.guest.has_ended() => Ok(0),
            Err(error) => Err(self.guest.explain(error)),
        }
    }

    /// Restores the guest in another VMM and returns the number of pages that are out.
    fn restore(&mut self) -> Result<u64> {
        let Self { moving, guest, memory, spec, .. } = self;
        let moving = moving.as_mut().context("a client asked for @restore, which needs --vmm qemu")?;
        moving.act(spec, guest, memory)
    }

    fn counts(&mut self) -> Result<String> {
        self.look();
        serde_json::to_string(&self.ended.counts).context("plain data")
    }

    /// Keeps the counts so far, and notes the VMM's threads, whose counts stay when they have ended.
    fn look(&mut self) {
        let counts = &mut self.ended.counts;
        counts.host = self.memory.traced().unwrap_or(counts.host);
        if let Some(pager) = self.memory.paged() {
            counts.pager = pager;
        }
    }
}
