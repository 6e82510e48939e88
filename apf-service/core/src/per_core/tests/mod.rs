//! Each rule of the interrupt side by itself; `tests/fake_host` has them together.

use super::*;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;

use crate::classify::{Context, WAIT_ROOM};
use crate::outcome::{NotPresent, PageFault, Work};
use crate::protocol::Token;
use crate::report::Report;
use crate::serve::{retry_overdue, serve};
use crate::sleeper::Announced;
use crate::watchdog::Retries;

/// Cores of one machine. Handlers run on the first one unless a test says otherwise.
struct Cores {
    cores: Vec<Rc<Core>>,
    early: EarlyCount,
    now: Cell<u64>,
    is_alone: bool,
    has_work: Cell<bool>,
    interrupted: RefCell<Vec<CoreId>>,
    /// Number of calls of the service thread.
    called: Cell<u32>,
    /// Tokens that the host stores to the first core, one at each acknowledgement.
    next: RefCell<Vec<u32>>,
    acknowledged: Cell<u32>,
}

const TEXT: Range<u64> = 0x1000..0x2000;

impl Machine for Cores {
    fn now(&self) -> Tsc {
        Tsc(self.now.get())
    }

    fn kernel_text(&self) -> Range<u64> {
        TEXT
    }

    fn task(&self) -> Task {
        Task { user_stack: 0x8000..0x9000, critical_depth: 0, is_idle: false, is_alone: self.is_alone }
    }

    fn cores(&self) -> impl Iterator<Item = &Core> {
        self.cores.iter().map(|core| &**core)
    }

    fn early(&self) -> &EarlyCount {
        &self.early
    }

    fn has_work(&self, _: CoreId) -> bool {
        self.has_work.get()
    }

    fn interrupt(&self, core: CoreId) {
        self.interrupted.borrow_mut().push(core);
    }

    fn wake(&self, slot: &Slot) -> bool {
        slot.sleeper().take().is_some()
    }

    fn call_service(&self) {
        self.called.set(self.called.get() + 1);
    }

    fn acknowledge(&self) {
        assert_eq!(self.cores[0].host.area.ready_token(), Token::NONE, "cleared before");
        self.acknowledged.set(self.acknowledged.get() + 1);
        if let Some(token) = self.next.borrow_mut().pop() {
            self.cores[0].host.area.host_writes_token(Token(token));
        }
    }
}

fn machine(cores: u16) -> Cores {
    let machine = Cores {
        cores: (0..cores).map(|id| Rc::new(Core::new(CoreId(id)))).collect(),
        early: EarlyCount::new(),
        now: Cell::new(1),
        is_alone: true,
        has_work: Cell::new(false),
        interrupted: RefCell::default(),
        called: Cell::new(0),
        next: RefCell::default(),
        acknowledged: Cell::new(0),
    };
    machine.cores().for_each(|core| core.begin(&machine));
    machine
}

impl Cores {
    fn first(&self) -> Rc<Core> {
        self.cores[0].clone()
    }

    fn fault_on(&self, core: usize, token: u32, wait: Wait) -> NotPresent {
        self.cores[core].not_present(Token(token), wait, 0xabc, self)
    }

    fn fault(&self, token: u32, wait: Wait) -> NotPresent {
        self.fault_on(0, token, wait)
    }

    fn waits(&self, token: u32, wait: Wait) -> Ticket {
        ticket(self.fault(token, wait))
    }

    /// Delivers a ready; at time 9.
    fn deliver_on(&self, core: usize, token: u32) -> Work {
        self.now.set(9);
        self.cores[core].host.area.host_writes_token(Token(token));
        self.cores[core].ready(self).expect("a token")
    }

    fn deliver(&self, token: u32) -> Work {
        self.deliver_on(0, token)
    }

    fn is_over(&self, core: usize, ticket: Ticket) -> bool {
        self.cores[core].slots.get(ticket).is_ready(ticket)
    }

    /// Lets a task sleep on the first core.
    fn sleep(&self, ticket: Ticket) {
        let slot = self.cores[0].slots.get(ticket);
        let announced = slot.sleeper().announce(NonZeroU64::MIN, slot.word(), Slot::waiting_value(ticket));
        assert_eq!(announced, Announced::Block);
    }

    /// Returns whether that task still sleeps.
    fn is_asleep(&self, ticket: Ticket) -> bool {
        self.cores[0].slots.get(ticket).sleeper().take().is_some()
    }

    fn page_fault(&self, flags: u32, rip: u64, interrupts_enabled: bool) -> PageFault {
        self.page_fault_at(5, flags, rip, interrupts_enabled)
    }

    fn page_fault_at(&self, cr2: u64, flags: u32, rip: u64, interrupts_enabled: bool) -> PageFault {
        self.cores[0].host.area.host_writes_reason(flags);
        self.cores[0].page_fault(cr2, Context { rip, rsp: 0x8800, interrupts_enabled }, self)
    }

    fn reports(&self) -> Vec<Report> {
        core::iter::from_fn(|| serve(self)).collect()
    }

    /// Retries all waits that are longer than `limit`, on a core on which a task could run than eight.
    fn retry_overdue(&self, limit: u64) -> Vec<Report> {
        self.retry(Retries { most: u64::MAX, overdue: limit, beside_work: 8 * limit })
    }

    fn retry(&self, retries: Retries) -> Vec<Report> {
        retry_overdue(self, retries).collect()
    }
}

fn ticket(n: NotPresent) -> Ticket {
    match n {
        NotPresent::Wait(ticket, _) => ticket,
        NotPresent::Retry => panic!("should wait"),
    }
}

type Way = fn(&Cores);

/// All that ends a wait by schedule for token 5 besides its ready on its own core.
const WAYS_TO_END_A_WAIT: [(&str, Way); 7] = [
    ("its token again, whose wait is over first", |m| {
        let again = m.waits(5, Wait::Schedule);
        m.first().resumed(again, Wait::Schedule, m.now());
    }),
    ("the end of a generation", |m| m.first().end(m)),
    ("a new generation", |m| m.first().begin(m)),
    ("wake-all", |m| {
        m.deliver(u32::MAX);
    }),
    ("its ready on another core", |m| {
        m.deliver_on(1, 5);
        m.reports();
    }),
    ("a full queue", |m| {
        for n in 0..=QUEUE as u32 {
            m.deliver_on(1, 1000 + n);
        }
        m.reports();
    }),
    ("the watchdog", |m| {
        m.now.set(m.now.get() + 20);
        m.retry_overdue(10);
    }),
];

mod page_fault;
mod ready;
mod stall;
mod waits;
