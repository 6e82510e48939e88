//! Cores, tasks and the service thread around the real code.

use std::cell::{Cell, RefCell};
use std::ops::AddAssign;
use std::rc::Rc;

use apf_core::classify::Wait;
use apf_core::early_ready::EarlyCount;
use apf_core::event::CoreId;
use apf_core::outcome::{PageFault, PastLimit, Work};
use apf_core::per_core::Core;
use apf_core::protocol::{OUTSTANDING_PER_VCPU, Token};
use apf_core::report::ServiceStats;
use apf_core::time::Tsc;

use super::guest::{Guest, Waiting, retries};
use super::host::Host;
use super::stall::Stalled;
use super::step::{Forged, Place, Rules, Step};

/// The lower bits of tokens of a core that there is not.
const NO_CORE: u32 = 0xfff;

/// What a host did to ready events, and how many limits ended a wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Faults that the host forgot.
    pub lost: u64,
    /// Ready events that it sent again, or ahead of the page.
    pub repeated: u64,
    /// Waits past their limit whose ready event was still to come.
    pub delayed: u64,
    /// Waits past their limit.
    pub limits: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.delayed += other.delayed;
        self.limits += other.limits;
    }
}

pub struct World {
    pub rules: Rules,
    pub guests: Vec<Guest>,
    pub early: Rc<EarlyCount>,
    pub stats: ServiceStats,
    /// Tokens whose ready another core got, and those that a hostile host chose.
    pub crossed: Vec<Token>,
    /// The service thread was called, and has not found everything done since.
    pub called: Rc<Cell<bool>>,
    pub clock: u64,
    pub tally: Tally,
}

impl World {
    pub fn new(rules: Rules) -> Self {
        let guest = |id: u8| Guest {
            core: Rc::new(Core::new(CoreId(id.into()))),
            host: Rc::new(RefCell::new(Host::new(id.into(), rules.ids, rules.first_id, rules.legacy))),
            halting: Vec::new(),
            scheduled: Vec::new(),
            in_flight: None,
            overtaken: 0,
            resumes: 0,
            hidden: None,
            lost: false,
            deceived: false,
            is_idle: false,
            stalled: Stalled::default(),
        };
        let mut world = Self {
            rules,
            guests: (0..rules.cores).map(guest).collect(),
            early: Rc::default(),
            stats: ServiceStats::new(),
            crossed: Vec::new(),
            called: Rc::default(),
            clock: 0,
            tally: Tally::default(),
        };
        (0..world.guests.len()).for_each(|core| world.arm(core));
        world
    }

    pub fn tick(&mut self) -> Tsc {
        self.advance(1);
        Tsc(self.clock)
    }

    /// Lets time go by, in which nothing changes.
    pub fn advance(&mut self, time: u64) {
        self.clock += time;
        self.guests.iter_mut().for_each(|guest| guest.sum_up(time));
    }

    /// Does one step, and checks what must hold after it.
    pub fn apply(&mut self, step: Step) -> Result<(), String> {
        let n = self.guests.len();
        let at = |core: u8| core as usize % n;
        match step {
            Step::Fault { core, place } => self.fault(at(core), place)?,
            Step::Burst { core, place, count } => {
                (0..count).try_for_each(|_| self.fault(at(core), place))?;
            }
            Step::FaultInFlight { core, place } => {
                let guest = &mut self.guests[at(core)];
                if guest.in_flight.is_none() {
                    guest.in_flight = guest.host.borrow_mut().start().map(|token| (token, place));
                    guest.overtaken = 0;
                }
            }
            Step::Inject { core } => self.inject_in_flight(at(core))?,
            Step::Overtake { core, count } => {
                (0..count).try_for_each(|_| self.overtake(at(core)))?;
            }
            Step::Complete { core, nth } => {
                self.guests[at(core)].host(|host, area| host.complete(nth, area));
            }
            Step::CompleteElsewhere { core, nth, to } => self.complete_elsewhere(at(core), nth, at(to))?,
            Step::Interrupt { core } => self.interrupt(at(core), false)?,
            Step::SpuriousInterrupt { core } => self.interrupt(at(core), true)?,
            Step::Service { events } => drop(self.service(events.into())?),
            Step::Run { core, nth } => {
                self.resume(at(core), nth)?;
            }
            Step::WakeAll { core } => self.write_enable_again(at(core))?,
            Step::Restore { lost } => self.restore(lost.map(at))?,
            Step::Check { core } => self.check(at(core))?,
            Step::Flood { core, count } => {
                // They would push an early ready out of the core's memory.
                if self.guests.iter().any(|guest| guest.in_flight.is_some()) {
                    return Ok(());
                }
                for n in 1..=count {
                    self.send(at(core), Token(u32::from(n) << 12 | NO_CORE));
                    self.interrupt(at(core), false)?;
                }
            }
            Step::Disarm { core } => self.disarm(at(core))?,
            Step::Arm { core } => {
                if !self.guests[at(core)].host.borrow().is_armed() {
                    self.arm(at(core));
                }
            }
            Step::Watchdog { limit } => self.retry_all(limit.into()),
            Step::HaltLimit { core } => drop(self.halt_limit(at(core))?),
            Step::Schedule { core, has_work } => {
                let now = self.tick();
                self.guests[at(core)].choose(has_work, now);
            }
            Step::OtherFault { core, unknown } => self.other_fault(at(core), unknown)?,
            Step::Lose { core, nth } => {
                let guest = &mut self.guests[at(core)];
                let lost = guest.host.borrow_mut().lose(nth);
                guest.deceived |= lost;
                self.tally.lost += u64::from(lost);
            }
            Step::ForgeReady { core, token } => {
                let token = self.forge(at(core), token);
                self.send(at(core), token);
            }
            Step::OverwriteReady { core, token } => {
                let token = self.forge(at(core), token);
                self.guests[at(core)].host(|host, area| host.overwrite(token, area));
            }
            Step::ForgeFault { core, place, token } => {
                let token = self.forge(at(core), token);
                self.inject(at(core), token, place)?;
            }
            Step::HiddenFault { core, place, damaged } => self.hidden_fault(at(core), place, damaged)?,
            Step::MaskedFault { core } => self.masked_fault(at(core))?,
        }
        self.check_step()
    }

    pub fn send(&mut self, core: usize, token: Token) {
        self.guests[core].host(|host, area| host.send(token, area));
    }

    fn forge(&mut self, core: usize, token: Forged) -> Token {
        self.guests[core].deceived = true;
        let all: Vec<Token> = match token {
            Forged::None => vec![Token::NONE],
            Forged::WakeAll => vec![Token::WAKE_ALL],
            Forged::OfAWait(_) => self.guests.iter().flat_map(Guest::waits).map(|wait| wait.token).collect(),
            Forged::Old(_) => self.guests.iter().flat_map(|g| g.host.borrow().delivered.clone()).collect(),
            Forged::Unknown(n) => vec![Token(0xdead_0000 | u32::from(n % 4))],
        };
        let token = match token {
            Forged::OfAWait(n) | Forged::Old(n) if !all.is_empty() => {
                self.tally.repeated += 1;
                all[n as usize % all.len()]
            }
            _ => all.first().copied().unwrap_or(Token(7)),
        };
        // From now on it may mean a fault of any core.
        self.crossed.push(token);
        token
    }

    fn fault(&mut self, core: usize, place: Place) -> Result<(), String> {
        if self.guests[core].in_flight.is_some() {
            return Ok(());
        }
        let started = self.guests[core].host.borrow_mut().start();
        started.map_or(Ok(()), |token| self.inject(core, token, place))
    }

    pub fn inject_in_flight(&mut self, core: usize) -> Result<(), String> {
        // An application does not fault while a context halts above it.
        let halting = self.guests[core].core.is_halting();
        match self.guests[core].in_flight.take_if(|&mut (_, place)| !halting || !place.is_application()) {
            Some((token, place)) => self.inject(core, token, place),
            None => Ok(()),
        }
    }

    /// A fault starts, is served and resumes, while another is in flight that
    /// will wait by schedule.
    fn overtake(&mut self, index: usize) -> Result<(), String> {
        let guest = &mut self.guests[index];
        // An exception in flight holds its core, so that at most the ready tokens of
        // the other outstanding faults can overtake it.
        let possible = guest.overtaken < OUTSTANDING_PER_VCPU - 1
            && guest.in_flight.is_some_and(|(_, place)| place == Place::App);
        if !possible || guest.core.is_halting() {
            return Ok(());
        }
        guest.overtaken += 1;
        let Some(token) = guest.host.borrow_mut().start() else { return Ok(()) };
        self.inject(index, token, Place::App)?;
        self.guests[index].host(|host, area| host.complete_newest(area));
        self.interrupt(index, false)?;
        self.service(usize::MAX)?;
        self.check_step()?;
        self.resume(index, 0).map(|_| ())
    }

    /// Delivers a not-present.
    fn inject(&mut self, index: usize, token: Token, place: Place) -> Result<(), String> {
        // Only the wait itself, which is kernel text, runs on a core that halts.
        let place = if self.guests[index].core.is_halting() { Place::Kernel } else { place };
        let delivered = self.was_delivered(index, token);
        let view = self.view(index, place);
        let guest = &mut self.guests[index];
        if place.is_application() {
            guest.choose(true, view.now);
        }
        let before = retries(&guest.core);
        let overflows = guest.core.stats.overflow_halts.get();
        // Whoever waits under a token used twice is let go.
        guest.excuse(|wait| wait.token == token);
        let fault = view.page_fault(1, token, true);
        let overflowed = guest.core.stats.overflow_halts.get() > overflows;
        match fault {
            PageFault::Return(Work::Nothing) => {
                guest.resumes += 1;
                let excuse = delivered || retries(&guest.core) > before;
                excuse.then_some(()).ok_or(format!("{token:?} was retried without a reason"))
            }
            PageFault::Wait(ticket, kind) => {
                let expected = match place {
                    Place::App if !overflowed => Wait::Schedule,
                    Place::Alone => Wait::HaltFirst,
                    _ => Wait::Halt,
                };
                if kind != expected {
                    return Err(format!("a fault in {place:?} waits by {kind:?}"));
                }
                let wait = Waiting { token, ticket, kind, released: false, excused: false };
                guest.core.slots.get(ticket).park(view.now);
                match kind {
                    Wait::Schedule => guest.scheduled.push(wait),
                    Wait::Halt | Wait::HaltFirst => {
                        guest.core.start_halting(view.now);
                        guest.halting.push(wait);
                    }
                }
                Ok(())
            }
            other => Err(format!("a not-present became {other:?}")),
        }
    }

    /// The core takes its interrupt, or a legacy ready.
    pub fn interrupt(&mut self, index: usize, spurious: bool) -> Result<(), String> {
        let view = self.view(index, Place::App);
        let guest = &mut self.guests[index];
        let stats = &guest.core.stats;
        let (wake_alls, empty) = (stats.wake_all.get(), stats.spurious_interrupts.get());
        if self.rules.legacy {
            let Some(token) = guest.host.borrow_mut().take_legacy_ready() else { return Ok(()) };
            let fault = view.page_fault(2, token, true);
            if !matches!(fault, PageFault::Return(_)) {
                return Err(format!("a legacy ready became {fault:?}"));
            }
        } else if guest.host.borrow_mut().take_interrupt() || spurious {
            guest.core.drain(&view);
        }
        let stats = &guest.core.stats;
        if stats.spurious_interrupts.get() > empty + 1 {
            return Err("one interrupt counted as several".into());
        }
        if stats.wake_all.get() > wake_alls {
            guest.excuse(|_| true);
        }
        self.check_interrupted(&view)
    }

    /// The limit of the innermost halt of a core is over, as `halt` of `apf-kernel` finds.
    /// Returns whether any context waits there by halt.
    pub fn halt_limit(&mut self, index: usize) -> Result<bool, String> {
        let view = self.view(index, Place::App);
        let guest = &mut self.guests[index];
        let Some(wait) = guest.halting.last_mut() else { return Ok(false) };
        let slot = guest.core.slots.get(wait.ticket);
        if slot.is_ready(wait.ticket) {
            return Ok(true);
        }
        self.tally.limits += 1;
        self.tally.delayed += u64::from(guest.host.borrow().works_on(wait.token));
        let past_limit = guest.core.halt_past_limit(wait.ticket, wait.kind, &view);
        match (wait.kind, past_limit) {
            (Wait::Halt, PastLimit::Over) if slot.is_ready(wait.ticket) => wait.excused = true,
            (Wait::HaltFirst, PastLimit::Schedule) if !slot.is_ready(wait.ticket) => {
                let wait = guest.halting.pop().expect("seen above");
                // A task is running.
                guest.choose(true, view.now);
                guest.core.stop_halting(view.now);
                guest.core.start_schedule_wait(view.now);
                guest.scheduled.push(Waiting { kind: Wait::Schedule, ..wait });
            }
            other => return Err(format!("past its limit a wait became {other:?}")),
        }
        Ok(true)
    }

    /// A waiter whose wait is over runs: of the halting the innermost, and
    /// while any halts, nobody else. Returns whether anyone did.
    pub fn resume(&mut self, index: usize, nth: u8) -> Result<bool, String> {
        let now = self.tick();
        let guest = &mut self.guests[index];
        let wait = if let Some(innermost) = guest.halting.last().copied() {
            if !innermost.released {
                return Ok(false);
            }
            guest.core.stop_halting(now);
            guest.halting.pop();
            innermost
        } else {
            let released = guest.scheduled.iter().filter(|wait| wait.released).count();
            if released == 0 {
                return Ok(false);
            }
            let nth = nth as usize % released;
            let (at, _) = guest.scheduled.iter().enumerate().filter(|(_, w)| w.released).nth(nth).unwrap();
            let wait = guest.scheduled.remove(at);
            guest.choose(true, now);
            wait
        };
        guest.core.resumed(wait.ticket, wait.kind, now);
        guest.resumes += 1;
        Ok(true)
    }
}
