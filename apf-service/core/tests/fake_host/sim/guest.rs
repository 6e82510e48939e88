//! One core: the service's state, the host's, and who waits. And the machine around it.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use apf_core::classify::{Context, Task, Wait};
use apf_core::early_ready::EarlyCount;
use apf_core::event::CoreId;
use apf_core::outcome::{NotPresent, PageFault, Work};
use apf_core::per_core::{Core, Machine};
use apf_core::protocol::Token;
use apf_core::slot::{Slot, Ticket};
use apf_core::time::Tsc;

use super::host::Host;
use super::stall::Stalled;
use super::step::Place;

const KERNEL_TEXT: Range<u64> = 0x1000..0x2000;
const STACK: Range<u64> = 0x8000..0x9000;

/// A wait that has started and not resumed.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub token: Token,
    pub ticket: Ticket,
    pub kind: Wait,
    /// It was seen released.
    pub released: bool,
    /// Something other than its ready may release it.
    pub excused: bool,
}

/// One core: the service's state, the host's, and who waits.
pub struct Guest {
    pub core: Rc<Core>,
    pub host: Rc<RefCell<Host>>,
    /// Halting contexts are last in, first out.
    pub halting: Vec<Waiting>,
    pub scheduled: Vec<Waiting>,
    pub in_flight: Option<(Token, Place)>,
    /// Number of ready tokens that have overtaken it.
    pub overtaken: usize,
    /// Resumes, by a wait that ended or at once.
    pub resumes: u64,
    /// The last not-present whose reason the guest did not get.
    pub hidden: Option<Token>,
    /// The host has lost the registers, and the core has not noticed.
    pub lost: bool,
    /// The host lied, so that nobody can say what should be.
    pub deceived: bool,
    /// No task could run at the scheduler's last decision.
    pub is_idle: bool,
    pub stalled: Stalled,
}

impl Guest {
    pub fn waits(&self) -> impl Iterator<Item = &Waiting> {
        self.halting.iter().chain(&self.scheduled)
    }

    pub fn excuse(&mut self, which: impl Fn(&Waiting) -> bool) {
        let waits = self.halting.iter_mut().chain(&mut self.scheduled);
        waits.filter(|wait| which(wait)).for_each(|wait| wait.excused = true);
    }

    /// Adds time in which nothing has changed to the stall times.
    pub fn sum_up(&mut self, time: u64) {
        if self.waits().next().is_some() {
            self.stalled.some += time;
            if self.is_idle || !self.halting.is_empty() {
                self.stalled.full += time;
            }
        }
    }

    /// The scheduler chooses a task; without work it is the idle task.
    pub fn choose(&mut self, has_work: bool, now: Tsc) {
        self.is_idle = !has_work;
        self.core.note_work(has_work, || now);
    }

    /// Makes the host do something that needs to see the area.
    pub fn host<R>(&self, act: impl FnOnce(&mut Host, &apf_core::protocol::Area) -> R) -> R {
        act(&mut self.host.borrow_mut(), &self.core.host.area)
    }
}

/// The machine as a handler on one core sees it, or the service thread.
pub struct View {
    pub now: Tsc,
    pub cores: Vec<Rc<Core>>,
    pub early: Rc<EarlyCount>,
    /// Of the core whose handler runs.
    pub host: Rc<RefCell<Host>>,
    pub this: usize,
    pub place: Place,
    /// Cores that were interrupted.
    pub interrupted: RefCell<Vec<CoreId>>,
    pub called: Rc<Cell<bool>>,
}

impl Machine for View {
    fn now(&self) -> Tsc {
        self.now
    }

    fn kernel_text(&self) -> Range<u64> {
        KERNEL_TEXT
    }

    fn task(&self) -> Task {
        Task {
            user_stack: STACK,
            critical_depth: u32::from(self.place == Place::Guarded),
            is_idle: self.place == Place::Idle,
            is_alone: false,
        }
    }

    fn cores(&self) -> impl Iterator<Item = &Core> {
        self.cores.iter().map(|core| &**core)
    }

    fn early(&self) -> &EarlyCount {
        &self.early
    }

    fn has_work(&self, _: CoreId) -> bool {
        false
    }

    fn interrupt(&self, core: CoreId) {
        self.interrupted.borrow_mut().push(core);
    }

    /// A task runs when the schedule says so.
    fn wake(&self, _slot: &Slot) -> bool {
        true
    }

    fn call_service(&self) {
        self.called.set(true);
    }

    fn acknowledge(&self) {
        self.host.borrow_mut().acknowledge(&self.cores[self.this].host.area);
    }
}

impl View {
    /// Delivers a #PF to the real handler's logic.
    pub fn page_fault(&self, flags: u32, token: Token, interrupts: bool) -> PageFault {
        let core = &self.cores[self.this];
        if flags != 0 {
            // The host writes only when it injects.
            core.host.area.host_writes_reason(flags);
        }
        if self.place == Place::Alone && flags == 1 {
            core.host.area.host_writes_reason(0);
            return match core.not_present(token, Wait::HaltFirst, KERNEL_TEXT.end, self) {
                NotPresent::Wait(ticket, wait) => PageFault::Wait(ticket, wait),
                NotPresent::Retry => PageFault::Return(Work::Nothing),
            };
        }
        core.page_fault(token.0.into(), self.context(interrupts), self)
    }

    /// Delivers a #PF of the program itself, at an address that is no token.
    pub fn other_fault(&self, flags: u32) -> PageFault {
        let core = &self.cores[self.this];
        core.host.area.host_writes_reason(flags);
        core.page_fault(0x4000_0000_0005, self.context(true), self)
    }

    fn context(&self, interrupts_enabled: bool) -> Context {
        Context {
            rip: if self.place == Place::Kernel { KERNEL_TEXT.start } else { KERNEL_TEXT.end },
            rsp: match self.place {
                Place::ForeignStack => STACK.end,
                Place::EndOfStack => STACK.start,
                _ => STACK.end - 8,
            },
            interrupts_enabled,
        }
    }
}

/// Retries that need no ready: no slot, no room on the stack, or a token that can name no fault.
pub fn retries(core: &Core) -> u64 {
    let s = &core.stats;
    s.overflow_retries.get() + s.no_room_retries.get() + s.impossible_token.get()
}
