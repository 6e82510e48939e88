//! Requests and their answers.

use crate::attack::Attacker;
use crate::error::Error;
use crate::handles::Handles;
use crate::latency::Sampler;
use crate::pager::Pager;
use crate::{hook, hostile};
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::attack::Attack;
use apf_vocabulary::pager::{Eviction, Request, Response, Stats, Status};

/// The pager, and its state before there is guest RAM.
#[derive(Debug)]
pub struct Service {
    /// Kept until there is guest RAM. An error stays.
    handles: Result<Option<Handles>, String>,
    pager: Option<Pager>,
    latency: Sampler,
    /// Error of the last eviction or restore.
    failure: Option<String>,
    attacker: Option<Attacker>,
}

impl Service {
    pub fn new(handles: Result<Handles, Error>) -> Self {
        let handles = handles.map(Some).map_err(|error| error.to_string());
        Self { handles, pager: None, latency: Sampler::default(), failure: None, attacker: None }
    }

    /// Returns the pager, once there is guest RAM.
    pub fn pager(&self) -> Option<&Pager> {
        self.pager.as_ref()
    }

    /// Serves faults that are due, and does a periodic eviction that is due.
    pub fn serve_due(&mut self) {
        if let Some(pager) = &mut self.pager {
            pager.serve_due();
            if let Err(error) = pager.evict_again(&mut self.latency) {
                self.failure = Some(error.to_string());
            }
        }
    }

    /// Reads the faults that have arrived.
    pub fn take_faults(&mut self) {
        if let Some(pager) = &mut self.pager {
            pager.take_faults(&mut self.latency);
        }
    }

    /// Answers one line with a request.
    pub fn answer(&mut self, line: &[u8]) -> Response {
        match serde_json::from_slice(line) {
            Ok(request) => self.execute(request).unwrap_or_else(|error| Response::Error { error }),
            Err(error) => Response::Error { error: format!("not a request: {error}") },
        }
    }

    fn execute(&mut self, request: Request) -> Result<Response, String> {
        match request {
            Request::Status {} => Ok(Response::Status(self.status())),
            Request::SetLatency { latency, seed } => {
                self.latency = Sampler::new(latency, seed)?;
                Ok(Response::LatencySet {})
            }
            Request::Stats {} => {
                Ok(Response::Stats(self.pager.as_ref().map_or_else(Stats::default, Pager::stats)))
            }
            Request::Attack { attack } => self.attack(attack),
            Request::Evict { ack, only, eviction, seed } => {
                check(&eviction)?;
                self.attach()?;
                self.page(|pager, latency| {
                    pager.evict(only.as_ref(), (&eviction, seed), ack, latency).map(Response::Evicted)
                })
            }
            Request::EndEvictions {} => {
                self.pager.iter_mut().for_each(Pager::end_evictions);
                self.failure.clone().map_or(Ok(Response::EvictionsEnded {}), Err)
            }
            Request::Acknowledge { ack } => {
                self.attach()?;
                self.page(|pager, _| {
                    pager.acknowledge_only(ack).map(|mailboxes| Response::Acknowledged { mailboxes })
                })
            }
            Request::Touched {} => {
                self.attach()?;
                self.page(|pager, _| Ok(Response::Touched { pages: pager.touched() }))
            }
            Request::BringAhead { pages } => {
                self.attach()?;
                self.page(|pager, _| Ok(Response::BringingAhead { pages: pager.bring_ahead(&pages) }))
            }
            Request::Restore { ack } => {
                self.attach()?;
                self.page(|pager, _| pager.restore(ack).map(Response::Restored))
            }
        }
    }

    fn attack(&mut self, attack: Attack) -> Result<Response, String> {
        if !hostile::attacks() {
            return Err(format!("attacks need {}=attacks in the VMM's environment", hostile::VARIABLE));
        }
        let hits = self.attacker.take().map_or(0, Attacker::end);
        self.attacker = Attacker::start(attack, &hook::guest_ram())?;
        Ok(Response::Attacking { hits })
    }

    fn page(
        &mut self,
        action: impl FnOnce(&mut Pager, &mut Sampler) -> Result<Response, Error>,
    ) -> Result<Response, String> {
        let pager = self.pager.as_mut().ok_or_else(|| Error::NoGuestRam.to_string())?;
        let result = action(pager, &mut self.latency).map_err(|error| error.to_string());
        self.failure = result.as_ref().err().cloned();
        result
    }

    /// Makes the pager, if there is none yet and there is guest RAM, and sets its RAM.
    fn attach(&mut self) -> Result<(), String> {
        let handles = self.handles.as_mut().map_err(|error| error.clone())?;
        let ram = hook::guest_ram();
        if ram.pages() == 0 {
            return Err(Error::NoGuestRam.to_string());
        }
        if self.pager.is_none() {
            self.pager = handles.take().map(Pager::new);
        }
        self.pager.iter_mut().try_for_each(|pager| pager.take_ram(&ram)).map_err(|error| error.to_string())
    }

    fn status(&mut self) -> Status {
        let error = self.attach().err().or_else(|| self.failure.clone());
        let ram = hook::guest_ram();
        let pages = ram.pages();
        let evicted = self.pager.as_ref().map_or(0, Pager::evicted_pages);
        Status {
            ram_bytes: ram.bytes() as u64,
            page_bytes: PAGE_BYTES as u64,
            evicted_pages: evicted as u64,
            resident_pages: (pages - evicted) as u64,
            in_flight: self.pager.as_ref().map_or(0, Pager::in_flight) as u64,
            latency: self.latency.model().clone(),
            error,
        }
    }
}

/// Checks an eviction's parameters.
///
/// # Errors
/// A parameter is impossible; the message names it.
fn check(eviction: &Eviction) -> Result<(), String> {
    let (Eviction::Fraction { share }
    | Eviction::Periodic { share, .. }
    | Eviction::Lru { share }
    | Eviction::Resident { share }) = eviction
    else {
        return Ok(());
    };
    match (0.0..=1.0).contains(share) {
        true => Ok(()),
        false => Err(format!("share {share} is not between 0 and 1")),
    }
}
