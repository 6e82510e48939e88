//! Talking to the pager inside the VMM.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apf_vocabulary::attack::Attack;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats};

/// A VMM maps its guest's memory before the guest can say anything.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);
/// Copying all of a guest's memory, on a slow machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// The connection, made when first needed.
pub struct Pager {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Pager {
    /// A pager that listens on `socket`, or will.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, stream: None }
    }

    /// Makes sure that there is a pager, and that it has found the guest's memory.
    ///
    /// # Errors
    /// It was not loaded, or cannot page the guest's memory; with what to do.
    pub fn attach(&mut self) -> Result<()> {
        if self.stream.is_some() {
            return Ok(());
        }
        let stream = UnixStream::connect(&self.socket).context(
            "no pager in the VMM: it must be a dynamically linked program that loads the pager's library",
        )?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        self.stream = Some(BufReader::new(stream));
        let started = Instant::now();
        loop {
            match self.ask(&Request::Status {})? {
                Response::Status(status) if status.ram_bytes > 0 && status.error.is_none() => return Ok(()),
                Response::Status(status) if started.elapsed() > ATTACH_LIMIT => {
                    bail!("the pager cannot attach: {}", status.error.unwrap_or_default())
                }
                Response::Status(_) => thread::sleep(Duration::from_millis(50)),
                other => bail!("the pager answered {other:?}"),
            }
        }
    }

    /// Sets the time of page-ins, with `seed` for random ones.
    pub fn set_latency(&mut self, latency: &Latency, seed: u64) -> Result<()> {
        match self.ask(&Request::SetLatency { latency: latency.clone(), seed })? {
            Response::LatencySet {} => Ok(()),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Pages everything out, or `only` these parts, or of either what `eviction`
    /// says, and acknowledges `request`, if there is one, to the guest. `seed` is for random choices.
    pub fn evict(
        &mut self,
        only: Option<Parts>,
        eviction: Eviction,
        seed: u64,
        request: Option<u64>,
    ) -> Result<Evicted> {
        match self.ask(&Request::Evict { ack: request, only, eviction, seed })? {
            Response::Evicted(evicted) => Ok(evicted),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Acknowledges `request` to the guest, and returns whether its mailbox was found.
    pub fn acknowledge(&mut self, request: u64) -> Result<bool> {
        match self.ask(&Request::Acknowledge { ack: request })? {
            Response::Acknowledged { mailboxes } => Ok(mailboxes > 0),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Attacks the guest from now on; returns how often the attack that ends has hit.
    pub fn attack(&mut self, attack: Attack) -> Result<u64> {
        match self.ask(&Request::Attack { attack })? {
            Response::Attacking { hits } => Ok(hits),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Ends periodic evictions; an error if one has failed.
    pub fn end_evictions(&mut self) -> Result<()> {
        match self.ask(&Request::EndEvictions {})? {
            Response::EvictionsEnded {} => Ok(()),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Brings everything back and acknowledges `request`, if there is one, to the guest.
    pub fn restore(&mut self, request: Option<u64>) -> Result<Restored> {
        match self.ask(&Request::Restore { ack: request })? {
            Response::Restored(restored) => Ok(restored),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Returns the pages that faults have brought in since the last eviction, in the order of their return.
    pub fn touched(&mut self) -> Result<Vec<u64>> {
        match self.ask(&Request::Touched {})? {
            Response::Touched { pages } => Ok(pages),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Brings `pages` in ahead of their faults after each further eviction; returns how many can be.
    pub fn bring_ahead(&mut self, pages: Vec<u64>) -> Result<u64> {
        match self.ask(&Request::BringAhead { pages })? {
            Response::BringingAhead { pages } => Ok(pages),
            other => bail!("the pager answered {other:?}"),
        }
    }

    /// Returns the pager's counts so far.
    pub fn stats(&mut self) -> Result<Stats> {
        match self.ask(&Request::Stats {})? {
            Response::Stats(stats) => Ok(stats),
            other => bail!("the pager answered {other:?}"),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Response> {
        let stream = self.stream.as_mut().context("the pager is not attached yet")?;
        let mut line = serde_json::to_string(request).context("plain data")?;
        line.push('\n');
        stream.get_mut().write_all(line.as_bytes()).context("the VMM has ended, and the pager with it")?;
        line.clear();
        let read = stream.read_line(&mut line).context("the pager does not answer")?;
        if read == 0 {
            bail!("the VMM has ended, and the pager with it");
        }
        match serde_json::from_str(&line).with_context(|| format!("the pager said {line:?}"))? {
            Response::Error { error } => bail!("the pager cannot do it: {error}"),
            response => Ok(response),
        }
    }
}
