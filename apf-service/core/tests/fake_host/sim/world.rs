//! Cores, tasks and the service thread around the real code.

use std::rc::Rc;

use apf_core::classify::Wait;
use apf_core::event::{CoreId, Kind};
use apf_core::protocol::{OUTSTANDING_PER_VCPU, Token};
use apf_core::slots::{Released, Ticket};
use apf_core::stats::ServiceStats;
use apf_core::table::{Outcome, Table};
use apf_core::time::Tsc;
use apf_core::vcpu::{PageFault, VCpu, Work, oldest_event};

use super::core::{Core, Waiting, page_fault, retries};
use super::host::Host;
use super::step::{Forged, Place, Rules, Step};

pub struct World {
    pub rules: Rules,
    pub cores: Vec<Core>,
    pub table: Table,
    pub stats: ServiceStats,
    /// Tokens whose ready another core got, and those that a hostile host chose.
    pub crossed: Vec<Token>,
    /// Tickets of waits that are over.
    old: Vec<(usize, Ticket)>,
    pub clock: u64,
}

impl World {
    pub fn new(rules: Rules) -> Self {
        let core = |id: u8| Core {
            vcpu: Rc::new(VCpu::new(CoreId(id.into()))),
            host: Host::new(id.into(), rules.ids, rules.first_id, rules.legacy),
            halting: Vec::new(),
            scheduled: Vec::new(),
            in_flight: None,
            overtaken: 0,
            wake_alls: Default::default(),
            flooded: false,
            resumes: 0,
            deceived: false,
        };
        let mut world = Self {
            rules,
            cores: (0..rules.cores).map(core).collect(),
            table: Table::new(rules.cores.into()),
            stats: ServiceStats::new(),
            crossed: Vec::new(),
            old: Vec::new(),
            clock: 0,
        };
        world.cores.iter().for_each(|core| core.vcpu.allow_hand_off(rules.hand_off));
        (0..world.cores.len()).for_each(|core| world.arm(core));
        world
    }

    pub fn tick(&mut self) -> Tsc {
        self.clock += 1;
        Tsc(self.clock)
    }

    /// Does one step, and checks what must hold after it.
    pub fn apply(&mut self, step: Step) -> Result<(), String> {
        let n = self.cores.len();
        let at = |core: u8| core as usize % n;
        match step {
            Step::Fault { core, place } => self.fault(at(core), place)?,
            Step::Burst { core, place, count } => {
                (0..count).try_for_each(|_| self.fault(at(core), place))?;
            }
            Step::FaultInFlight { core, place } => {
                let core = &mut self.cores[at(core)];
                if core.in_flight.is_none() {
                    core.in_flight = core.host.start().map(|token| (token, place));
                    core.overtaken = 0;
                }
            }
            Step::Inject { core } => self.inject_in_flight(at(core))?,
            Step::Overtake { core, count } => {
                (0..count).try_for_each(|_| self.overtake(at(core)))?;
            }
            Step::Complete { core, nth } => {
                let core = &mut self.cores[at(core)];
                core.host.complete(nth, &core.vcpu.area);
            }
            Step::CompleteElsewhere { core, nth, to } => self.complete_elsewhere(at(core), nth, at(to))?,
            Step::Interrupt { core } => self.interrupt(at(core), false)?,
            Step::SpuriousInterrupt { core } => self.interrupt(at(core), true)?,
            Step::Service { events } => self.service(events.into())?,
            Step::Run { core, nth } => {
                self.resume(at(core), nth)?;
            }
            Step::WakeAll { core } => self.send(at(core), Token::WAKE_ALL),
            Step::Flood { core, count } => {
                if self.cores[at(core)].in_flight.is_some() {
                    return Ok(());
                }
                self.cores[at(core)].flooded = true;
                for _ in 0..count {
                    self.send(at(core), Token::WAKE_ALL);
                    self.interrupt(at(core), false)?;
                }
            }
            Step::Disarm { core } => self.disarm(at(core))?,
            Step::Arm { core } => {
                if !self.cores[at(core)].host.is_armed() {
                    self.arm(at(core));
                }
            }
            Step::Watchdog { limit } => self.watchdog(limit.into()),
            Step::StaleRelease { nth } => self.release_again(nth)?,
            Step::OtherFault { core, unknown } => self.other_fault(at(core), unknown)?,
            Step::Lose { core, nth } => {
                let core = &mut self.cores[at(core)];
                core.deceived |= core.host.lose(nth);
            }
            Step::ForgeReady { core, token } => {
                let token = self.forge(at(core), token);
                self.send(at(core), token);
            }
            Step::OverwriteReady { core, token } => {
                let token = self.forge(at(core), token);
                let core = &mut self.cores[at(core)];
                core.host.overwrite(token, &core.vcpu.area);
            }
            Step::ForgeFault { core, place, token } => {
                let token = self.forge(at(core), token);
                self.inject(at(core), token, place)?;
            }
            Step::MaskedFault { core } => self.masked_fault(at(core))?,
        }
        self.check_step()
    }

    pub fn send(&mut self, core: usize, token: Token) {
        let core = &mut self.cores[core];
        core.host.send(token, &core.vcpu.area);
    }

    fn forge(&mut self, core: usize, token: Forged) -> Token {
        self.cores[core].deceived = true;
        let all: Vec<Token> = match token {
            Forged::None => vec![Token::NONE],
            Forged::WakeAll => vec![Token::WAKE_ALL],
            Forged::OfAWait(_) => {
                let waits = self.cores.iter().flat_map(|c| c.halting.iter().chain(&c.scheduled));
                waits.map(|wait| wait.token).collect()
            }
            Forged::Old(_) => self.cores.iter().flat_map(|c| c.host.delivered.iter().copied()).collect(),
            Forged::Unknown(n) => vec![Token(0xdead_0000 | u32::from(n % 4))],
        };
        let token = match token {
            Forged::OfAWait(n) | Forged::Old(n) if !all.is_empty() => all[n as usize % all.len()],
            _ => all.first().copied().unwrap_or(Token(7)),
        };
        // From now on it may mean a fault of any core.
        self.crossed.push(token);
        token
    }

    /// As `kernel::arm` does it.
    pub fn arm(&mut self, core: usize) {
        let core = &mut self.cores[core];
        core.vcpu.begin();
        // Only a host that injects while disarmed leaves anyone here.
        core.scheduled.iter_mut().for_each(|wait| wait.excused = true);
        core.host.arm(&core.vcpu.area);
    }

    /// As `kernel::arm` does it: in a task on that core, so not while a context
    /// halts there or an exception is in flight.
    fn disarm(&mut self, core: usize) -> Result<(), String> {
        let now = self.tick();
        let (index, elsewhere) = (core, self.elsewhere(core));
        let core = &mut self.cores[index];
        if !core.host.is_armed() || !core.halting.is_empty() || core.in_flight.is_some() {
            return Ok(());
        }
        let of_others = core.host.disarm();
        let before = core.vcpu.stats.wake_all.get();
        core.vcpu.end(&elsewhere, now);
        (before..=core.vcpu.stats.wake_all.get()).for_each(|_| core.wake_alls.push_back(now.0));
        for wait in &mut core.scheduled {
            wait.excused = true;
            if !core.vcpu.slots.get(wait.ticket).is_ready(wait.ticket) {
                return Err(format!("disarming left {wait:?} waiting"));
            }
        }
        for token in of_others {
            let home = (token.0 & 0xfff) as usize;
            if self.cores.get(home).is_some_and(|core| core.host.is_armed()) {
                self.send(home, token);
            }
        }
        self.check_interrupted(index, &elsewhere)
    }

    fn fault(&mut self, core: usize, place: Place) -> Result<(), String> {
        if self.cores[core].in_flight.is_some() {
            return Ok(());
        }
        match self.cores[core].host.start() {
            Some(token) => self.inject(core, token, place),
            None => Ok(()),
        }
    }

    pub fn inject_in_flight(&mut self, core: usize) -> Result<(), String> {
        // An application does not fault while a context halts above it.
        let halting = self.cores[core].vcpu.is_halting();
        match self.cores[core].in_flight.take_if(|&mut (_, place)| !halting || place != Place::App) {
            Some((token, place)) => self.inject(core, token, place),
            None => Ok(()),
        }
    }

    /// A fault begins, is served and resumes, while another is in flight that
    /// will wait by schedule.
    fn overtake(&mut self, index: usize) -> Result<(), String> {
        let core = &mut self.cores[index];
        // An exception in flight holds its core, so that at most the readies of
        // the other outstanding faults can overtake it.
        let possible = core.overtaken < OUTSTANDING_PER_VCPU - 1
            && core.in_flight.is_some_and(|(_, place)| place == Place::App);
        if !possible || core.flooded || core.vcpu.is_halting() {
            return Ok(());
        }
        core.overtaken += 1;
        let Some(token) = core.host.start() else { return Ok(()) };
        self.inject(index, token, Place::App)?;
        let core = &mut self.cores[index];
        core.host.complete_newest(&core.vcpu.area);
        self.interrupt(index, false)?;
        self.service(usize::MAX)?;
        self.check_step()?;
        self.resume(index, 0).map(|_| ())
    }

    /// Delivers a not-present.
    fn inject(&mut self, index: usize, token: Token, place: Place) -> Result<(), String> {
        let now = self.tick();
        let elsewhere = self.elsewhere(index);
        let delivered = self.was_delivered(index, token);
        let core = &mut self.cores[index];
        // Only the wait itself, which is kernel text, runs on a core that halts.
        let place = if core.vcpu.is_halting() { Place::Kernel } else { place };
        let before = retries(&core.vcpu);
        let overflows = core.vcpu.stats.overflow_halts.get();
        let fault = page_fault(&core.vcpu, 1, token, place, true, &elsewhere, now);
        let overflowed = core.vcpu.stats.overflow_halts.get() > overflows;
        match fault {
            PageFault::Return(Work::Nothing) => {
                core.resumes += 1;
                let excuse = delivered || retries(&core.vcpu) > before;
                excuse.then_some(()).ok_or(format!("{token:?} was retried without a reason"))
            }
            PageFault::Wait(ticket, kind) => {
                let expected = if place == Place::App && !overflowed { Wait::Schedule } else { Wait::Halt };
                if kind != expected {
                    return Err(format!("a fault in {place:?} waits by {kind:?}"));
                }
                // Whoever waits under a token used twice is let go.
                core.scheduled.iter_mut().filter(|w| w.token == token).for_each(|w| w.excused = true);
                let wait = Waiting { token, ticket, kind, since: now.0, released: false, excused: false };
                core.vcpu.slots.get(ticket).park(now);
                match kind {
                    Wait::Schedule => core.scheduled.push(wait),
                    Wait::Halt => {
                        core.vcpu.start_halting();
                        core.halting.push(wait);
                    }
                }
                Ok(())
            }
            other => Err(format!("a not-present became {other:?}")),
        }
    }

    fn masked_fault(&mut self, core: usize) -> Result<(), String> {
        let now = self.tick();
        let fault =
            page_fault(&self.cores[core].vcpu, 1, Token(5), Place::App, false, &self.elsewhere(core), now);
        // The guest stops here, with a diagnosis; the schedule may go on.
        (fault == PageFault::BrokenHost(Token(5))).then_some(()).ok_or(format!("IF=0 became {fault:?}"))
    }

    fn other_fault(&mut self, core: usize, unknown: bool) -> Result<(), String> {
        let now = self.tick();
        let flags = if unknown { 0x8000_0001 } else { 0 };
        let fault =
            page_fault(&self.cores[core].vcpu, flags, Token(5), Place::App, true, &self.elsewhere(core), now);
        (fault == PageFault::NotOurs).then_some(()).ok_or(format!("flags {flags:#x} became {fault:?}"))
    }

    /// The core takes its interrupt, or a legacy ready.
    pub fn interrupt(&mut self, core: usize, spurious: bool) -> Result<(), String> {
        let now = self.tick();
        let (index, elsewhere) = (core, self.elsewhere(core));
        let core = &mut self.cores[index];
        let (wake_alls, empty) = (core.vcpu.stats.wake_all.get(), core.vcpu.stats.spurious_interrupts.get());
        if self.rules.legacy {
            let Some(token) = core.host.take_legacy_ready() else { return Ok(()) };
            let fault = page_fault(&core.vcpu, 2, token, Place::App, true, &elsewhere, now);
            if !matches!(fault, PageFault::Return(_)) {
                return Err(format!("a legacy ready became {fault:?}"));
            }
        } else if core.host.take_interrupt() || spurious {
            let (vcpu, host) = (&core.vcpu, &mut core.host);
            vcpu.drain(&elsewhere, || now, || host.acknowledge(&vcpu.area));
        }
        if core.vcpu.stats.spurious_interrupts.get() > empty + 1 {
            return Err("one interrupt counted as several".into());
        }
        for _ in wake_alls..core.vcpu.stats.wake_all.get() {
            core.wake_alls.push_back(now.0);
            core.halting.iter_mut().for_each(|wait| wait.excused = true);
        }
        self.check_interrupted(index, &elsewhere)
    }

    /// The service thread runs on the first core, unless a context halts there.
    pub fn service(&mut self, budget: usize) -> Result<(), String> {
        if self.cores[0].vcpu.is_halting() {
            return Ok(());
        }
        for _ in 0..budget {
            let event = oldest_event(self.cores.iter().map(|core| &*core.vcpu));
            self.table
                .forget_over(|core, ticket| self.cores[usize::from(core.0)].vcpu.slots.is_scheduled(ticket));
            let Some(event) = event else { break };
            let now = self.tick();
            let flooded = self.cores.iter().any(|core| core.flooded);
            let core = &mut self.cores[usize::from(event.core.0)];
            if event.kind == Kind::WakeAll {
                // Once a queue has been full, any may stand for events that were lost.
                let until = core.wake_alls.pop_front().filter(|_| !flooded).unwrap_or(now.0);
                core.scheduled.iter_mut().filter(|w| w.since <= until).for_each(|w| w.excused = true);
            }
            let cores = &self.cores;
            let outcome = self.table.apply(&event, |core, ticket, at| {
                let own = core == event.core || event.kind == Kind::Ready;
                assert!(own, "an event released a waiter of another core");
                cores[usize::from(core.0)].vcpu.release(ticket, at, now);
            });
            self.stats.count(&outcome);
            let core = &mut self.cores[usize::from(event.core.0)];
            if outcome == Outcome::NoRoom {
                core.scheduled.iter_mut().filter(|w| w.ticket == event.ticket).for_each(|w| w.excused = true);
            }
        }
        Ok(())
    }

    pub fn watchdog(&mut self, limit: u64) {
        if self.cores[0].vcpu.is_halting() {
            return;
        }
        let now = self.tick();
        while let Some((core, token, fault)) = self.table.take_overdue(now, limit) {
            let core = &mut self.cores[usize::from(core.0)];
            let its_own = |w: &&mut Waiting| w.ticket == fault.ticket && w.token == token;
            core.scheduled.iter_mut().filter(its_own).for_each(|w| w.excused = true);
            core.vcpu.release(fault.ticket, now, now);
            self.stats.overdue.count();
        }
    }

    fn release_again(&mut self, nth: u8) -> Result<(), String> {
        if self.old.is_empty() {
            return Ok(());
        }
        let (core, ticket) = self.old[nth as usize % self.old.len()];
        match self.cores[core].vcpu.release(ticket, Tsc(0), Tsc(0)) {
            Released::Stale => Ok(()),
            other => Err(format!("{ticket:?} is long over, and released somebody: {other:?}")),
        }
    }

    /// A waiter whose wait is over runs: of the halting the innermost, and
    /// while any halts, nobody else. Tells whether anyone did.
    pub fn resume(&mut self, index: usize, nth: u8) -> Result<bool, String> {
        let now = self.tick();
        let core = &mut self.cores[index];
        let wait = if let Some(innermost) = core.halting.last().copied() {
            if !innermost.released {
                return Ok(false);
            }
            core.vcpu.stop_halting();
            core.halting.pop();
            innermost
        } else {
            let released = core.scheduled.iter().filter(|wait| wait.released).count();
            if released == 0 {
                return Ok(false);
            }
            let nth = nth as usize % released;
            let (at, _) = core.scheduled.iter().enumerate().filter(|(_, w)| w.released).nth(nth).unwrap();
            core.scheduled.remove(at)
        };
        core.vcpu.resumed(wait.ticket, wait.kind, now);
        core.resumes += 1;
        self.old.push((index, wait.ticket));
        Ok(true)
    }
}
