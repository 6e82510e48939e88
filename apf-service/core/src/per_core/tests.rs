//! Each rule of the interrupt side by itself; `tests/fake_host` has them together.

use super::*;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;

use crate::classify::WAIT_ROOM;
use crate::report::Report;
use crate::serve::{retry_overdue, serve};
use crate::sleeper::Announced;

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
}

fn ticket(n: NotPresent) -> Ticket {
    match n {
        NotPresent::Wait(ticket, _) => ticket,
        NotPresent::Retry => panic!("should wait"),
    }
}

#[test]
fn a_scheduled_wait_is_released_by_its_ready_interrupt() {
    let m = machine(1);
    let t = m.waits(5, Wait::Schedule);
    let core = m.first();
    m.sleep(t);
    assert_eq!(m.deliver(5), Work::Reschedule);
    assert!(m.is_over(0, t) && !m.is_asleep(t));
    assert_eq!(core.resumed(t, Wait::Schedule, Tsc(10)).released, Tsc(9));
    assert_eq!((m.reports(), m.called.get()), (alloc::vec![], 0));
    // Its ready once more finds nobody, and is the service thread's business.
    assert_eq!(m.deliver(5), Work::Reschedule);
    assert_eq!(m.reports(), [Report::Unmatched { came_on: CoreId(0), token: Token(5) }]);
    assert_eq!((core.stats.handed_off.get(), core.stats.ready.get(), m.called.get()), (1, 2, 1));
    // A task that does not sleep yet keeps the core.
    m.waits(7, Wait::Schedule);
    assert_eq!(m.deliver(7), Work::Nothing);
}

/// Would fail if the word were set and the task that sleeps on it were not woken.
#[test]
fn whatever_ends_a_wait_by_schedule_wakes_its_task() {
    type Way = fn(&Cores);
    let ways: [(&str, Way); 7] = [
        ("its token again", |m| {
            m.waits(5, Wait::Halt);
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
            m.now.set(99);
            retry_overdue(m, 10);
        }),
    ];
    for (way, end) in ways {
        let m = machine(2);
        let t = m.waits(5, Wait::Schedule);
        m.sleep(t);
        end(&m);
        assert!(m.is_over(0, t) && !m.is_asleep(t), "{way}");
    }
}

#[test]
fn a_halting_wait_is_released_by_its_ready_interrupt() {
    let m = machine(1);
    let t = m.waits(5, Wait::Halt);
    assert_eq!(m.deliver(5), Work::Nothing);
    assert!(m.is_over(0, t) && m.reports().is_empty());
}

#[test]
fn an_early_ready_spares_the_wait_and_is_consumed_once() {
    let m = machine(1);
    for wait in [Wait::Halt, Wait::Schedule] {
        m.deliver(5);
        m.deliver(5);
        assert_eq!(m.fault(5, wait), NotPresent::Retry);
        m.waits(5, wait);
        m.deliver(5);
    }
    assert_eq!((m.first().stats.early_ready.get(), m.early.get()), (2, 0));
}

#[test]
fn a_ready_on_another_core_releases_who_halts_and_interrupts_its_core() {
    let m = machine(2);
    let t = m.waits(5, Wait::Halt);
    assert_eq!(m.deliver_on(1, 5), Work::Nothing);
    assert!(m.is_over(0, t));
    assert_eq!(*m.interrupted.borrow(), [CoreId(0)]);
    assert_eq!((m.cores[1].stats.halt_released_elsewhere.get(), m.called.get()), (1, 0));
    // It was consumed: the next fault under this token waits.
    m.waits(5, Wait::Halt);
}

#[test]
fn a_ready_on_another_core_is_matched_by_the_service_thread() {
    let m = machine(3);
    let t = m.waits(5, Wait::Schedule);
    assert_eq!(m.deliver_on(2, 5), Work::Reschedule);
    assert!(!m.is_over(0, t) && m.called.get() == 1);
    assert!(m.cores[2].has_events() && !m.first().has_events());
    let matched = Report::Matched { core: CoreId(0), came_on: CoreId(2), token: Token(5), rip: 0xabc };
    assert_eq!(m.reports(), [matched]);
    assert!(m.is_over(0, t) && m.early.get() == 0 && !m.cores[2].has_events());
    // It was consumed: the next fault under this token waits.
    m.waits(5, Wait::Schedule);
}

#[test]
fn an_early_ready_on_another_core_spares_the_wait_once() {
    let m = machine(2);
    for (n, wait) in [(1, Wait::Halt), (2, Wait::Schedule)] {
        m.deliver_on(1, n);
        assert_eq!(m.fault(n, wait), NotPresent::Retry);
        assert_eq!((m.first().slots.in_use(), m.early.get()), (n as usize - 1, 0));
        m.waits(n, wait);
    }
    assert_eq!(m.first().stats.early_ready.get(), 2);
}

#[test]
fn a_ready_is_its_own_cores_first() {
    let m = machine(3);
    let tickets = [0, 1, 2].map(|core| ticket(m.fault_on(core, 5, Wait::Schedule)));
    m.deliver_on(1, 5);
    assert_eq!([0, 1, 2].map(|core| m.is_over(core, tickets[core])), [false, true, false]);
}

#[test]
fn wake_all_releases_this_cores_waiters_only_and_the_host_owes_nothing() {
    let m = machine(2);
    let tickets: Vec<_> = [Wait::Halt, Wait::Schedule, Wait::Schedule]
        .into_iter()
        .zip(1..)
        .map(|(w, t)| m.waits(t, w))
        .collect();
    let there = ticket(m.fault_on(1, 9, Wait::Halt));
    assert_eq!(m.deliver(u32::MAX), Work::Reschedule);
    assert!(tickets.iter().all(|&t| m.is_over(0, t)) && !m.is_over(1, there));
    let stats = &m.cores[0].stats;
    assert_eq!((stats.wake_all.get(), stats.woken.get(), m.called.get()), (1, 3, 1));
    m.waits(4, Wait::Schedule);
    m.waits(5, Wait::Schedule);
    assert_eq!(stats.most_outstanding.get(), 3, "not 5");
}

#[test]
fn a_wake_all_that_arming_does_not_explain_is_a_restore() {
    let m = machine(2);
    let core = m.first();
    let (restored, generation) = (|| core.stats.restored.get(), core.own.generation());
    m.deliver(u32::MAX);
    assert_eq!((restored(), core.own.generation()), (0, generation), "arming causes one");
    let t = m.waits(5, Wait::Schedule);
    // Its page came just before the snapshot, and its fault is the next thing to happen.
    m.deliver(6);
    m.deliver(u32::MAX);
    assert!(m.is_over(0, t));
    assert_eq!((restored(), m.cores[1].stats.restored.get()), (1, 0));
    assert_ne!(core.own.generation(), generation);
    m.waits(6, Wait::Schedule);
    // Arming anew explains one more.
    core.begin(&m);
    m.deliver(u32::MAX);
    assert_eq!(restored(), 1);
}

#[test]
fn a_restore_makes_the_policy_forget_the_old_hosts_latencies() {
    let m = machine(1);
    let core = m.first();
    core.set_waits(Waits::Auto, 100, u64::MAX);
    let wait_from_to = |fault: u64, running: u64| {
        m.now.set(fault);
        let t = m.waits(5, Wait::Schedule);
        core.slots.release(Token(5), Tsc(running - 20), Tsc(running - 20));
        core.own.forget_outstanding();
        (t, running)
    };
    let resume = |(t, running)| core.resumed(t, Wait::Schedule, Tsc(running));
    m.deliver(u32::MAX);
    resume(wait_from_to(100, 130));
    assert!(core.own.prefers_halt(true));
    // This wait spans the restore.
    let spans = wait_from_to(200, 230);
    m.now.set(220);
    core.host.area.host_writes_token(Token::WAKE_ALL);
    core.ready(&m);
    resume(spans);
    assert!(!core.own.prefers_halt(true), "nothing is known of this host");
    resume(wait_from_to(300, 330));
    assert!(core.own.prefers_halt(true));
}

#[test]
fn what_a_host_delivered_without_an_interrupt_is_taken_and_acknowledged() {
    let m = machine(1);
    m.first().take_delayed(&m);
    assert_eq!((m.acknowledged.get(), m.first().stats.spurious_interrupts.get()), (1, 0));
    let t = m.waits(5, Wait::Schedule);
    m.first().host.area.host_writes_token(Token(5));
    m.first().take_delayed(&m);
    assert!(m.is_over(0, t));
    assert_eq!((m.acknowledged.get(), m.first().stats.spurious_interrupts.get()), (2, 0));
}

#[test]
fn a_ready_that_finds_the_queue_full_releases_everyone_who_is_scheduled() {
    let m = machine(2);
    let t = ticket(m.fault_on(1, 5, Wait::Schedule));
    let halting = ticket(m.fault_on(1, 6, Wait::Halt));
    for t in 1..=QUEUE as u32 {
        assert_eq!(m.deliver(1000 + t), Work::Reschedule);
    }
    m.deliver(5);
    let called = m.called.get();
    assert_eq!((m.first().stats.deferred_ready.get(), called), (1, QUEUE as u32 + 1));
    let reports = m.reports();
    assert_eq!((reports[0], reports.len()), (Report::Overflow { waiters: 1 }, QUEUE + 1));
    assert!(m.is_over(1, t) && !m.is_over(1, halting));
}

#[test]
fn an_overdue_wait_is_retried_once_and_reported() {
    let m = machine(2);
    let t = ticket(m.fault_on(1, 5, Wait::Schedule));
    m.now.set(11);
    assert_eq!(retry_overdue(&m, 10), None);
    m.now.set(12);
    let overdue = Report::Overdue { core: CoreId(1), token: Token(5), rip: 0xabc, waited: 11 };
    assert_eq!(retry_overdue(&m, 10), Some(overdue));
    assert_eq!(retry_overdue(&m, 10), None);
    assert!(m.is_over(1, t));
}

#[test]
fn a_retry_spares_a_core_on_which_a_task_could_run_for_eight_limits() {
    let m = machine(1);
    m.waits(5, Wait::Schedule);
    m.has_work.set(true);
    m.now.set(11);
    assert_eq!(retry_overdue(&m, 10), None);
    m.now.set(81);
    assert_eq!(retry_overdue(&m, 10), Some(Report::Late { core: CoreId(0) }));
    m.now.set(82);
    assert!(matches!(retry_overdue(&m, 10), Some(Report::Overdue { .. })));
}

#[test]
fn the_drain_acknowledges_each_token_after_clearing_it() {
    let m = machine(1);
    *m.next.borrow_mut() = alloc::vec![3, 2];
    m.first().host.area.host_writes_token(Token(1));
    assert_eq!(m.first().drain(&m), Work::Reschedule);
    let stats = &m.cores[0].stats;
    assert_eq!((m.acknowledged.get(), stats.ready.get(), stats.spurious_interrupts.get()), (3, 3, 0));
}

/// A host that numbers a fault 0 delivers it as an empty interrupt.
#[test]
fn an_empty_interrupt_is_acknowledged_like_any_other() {
    let m = machine(1);
    assert_eq!(m.first().drain(&m), Work::Nothing);
    let stats = &m.cores[0].stats;
    assert_eq!((m.acknowledged.get(), stats.ready.get(), stats.spurious_interrupts.get()), (1, 0, 1));
}

#[test]
fn a_host_that_never_stops_is_cut_short() {
    let m = machine(1);
    *m.next.borrow_mut() = alloc::vec![7; 1000];
    m.first().host.area.host_writes_token(Token(7));
    m.first().drain(&m);
    assert_eq!(m.first().stats.ready.get(), 2 * OUTSTANDING_PER_VCPU as u64);
}

#[test]
fn outstanding_counts_what_the_host_still_owes() {
    let m = machine(1);
    for t in 1..=3 {
        m.waits(t, Wait::Schedule);
    }
    m.deliver(1);
    m.waits(4, Wait::Schedule);
    let stats = &m.cores[0].stats;
    assert_eq!((stats.most_outstanding.get(), stats.most_waiting.get()), (3, 4));
    // A new generation owes nothing of the old.
    m.first().begin(&m);
    m.waits(5, Wait::Schedule);
    m.deliver(5);
    m.deliver(6);
    assert_eq!(stats.most_outstanding.get(), 3);
    // A ready that comes first counts before its fault.
    m.fault(6, Wait::Schedule);
    assert_eq!(m.first().own.add_outstanding(), 1);
}

#[test]
fn reaching_the_hosts_limit_is_counted_each_time_and_warned_of_before() {
    let m = machine(1);
    for t in 1..=66 {
        m.waits(t, Wait::Schedule);
        assert_eq!(m.called.get() > 0, u64::from(t) >= NEAR_LIMIT);
    }
    assert_eq!(m.first().stats.budget_spent.get(), 1);
    for t in 1..=3 {
        m.deliver(t);
    }
    m.waits(67, Wait::Schedule);
    assert_eq!(m.first().stats.budget_spent.get(), 2);
}

#[test]
fn tokens_that_cannot_name_a_fault_are_retried() {
    let m = machine(1);
    for token in [Token::NONE, Token::WAKE_ALL] {
        assert_eq!(m.fault(token.0, Wait::Halt), NotPresent::Retry);
    }
    assert_eq!((m.first().stats.impossible_token.get(), m.first().slots.in_use()), (2, 0));
}

#[test]
fn a_token_used_twice_frees_the_older_waiter() {
    let m = machine(1);
    let older = m.waits(5, Wait::Schedule);
    let newer = m.waits(5, Wait::Halt);
    assert!(m.is_over(0, older) && !m.is_over(0, newer));
    assert_eq!(m.first().stats.displaced.get(), 1);
    m.deliver(5);
    assert!(m.is_over(0, newer));
}

#[test]
fn only_faults_of_the_protocol_are_ours() {
    let m = machine(1);
    // With addresses that are no token: the half above is not empty, or they name no fault.
    for cr2 in [0x1_0000_0005, 0x4000_0000_0000] {
        for flags in [0, 1, 2, 4] {
            assert_eq!(m.page_fault_at(cr2, flags, 0x5000, true), PageFault::NotOurs);
        }
    }
    assert_eq!(m.page_fault_at(0, 0, 0x5000, true), PageFault::NotOurs, "a null pointer");
    assert_eq!(m.page_fault(0, 0x5000, false), PageFault::NotOurs, "nothing is injected there");
    let s = &m.first().stats;
    assert_eq!((s.unknown_reason.get(), s.unexplained_retries.get(), s.not_present.get()), (6, 0, 0));
}

/// Would fail if a host that loses or damages the reason of a fault ended the task, or if a fault of
/// the program itself were tried for ever.
#[test]
fn a_fault_without_a_reason_is_tried_once_more() {
    for flags in [0, 4] {
        let m = machine(1);
        let retried = PageFault::Return(Work::Nothing);
        assert_eq!(m.page_fault(flags, 0x5000, true), retried);
        assert_eq!(m.page_fault(flags, 0x5000, true), PageFault::NotOurs, "again");
        assert_eq!(m.page_fault(flags, 0x5001, true), retried, "another instruction");
        assert_eq!(m.page_fault_at(6, flags, 0x5001, true), retried, "another address");
        assert_eq!(m.first().stats.unexplained_retries.get(), 3);
        assert_eq!(m.first().stats.unknown_reason.get(), if flags == 0 { 0 } else { 4 });
    }
}

#[test]
fn a_fault_waits_as_its_context_may() {
    let m = machine(1);
    assert!(matches!(m.page_fault(1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    m.deliver(5);
    assert!(matches!(m.page_fault(1, 0x1500, true), PageFault::Wait(_, Wait::Halt)));
    m.deliver(5);
    m.deliver(5);
    assert_eq!(m.page_fault(1, 0x5000, true), PageFault::Return(Work::Nothing));
}

/// Would fail if a wait ran over the end of a stack.
#[test]
fn a_fault_at_the_end_of_a_stack_does_not_wait_there() {
    let m = machine(1);
    let at = |rsp| {
        m.cores[0].host.area.host_writes_reason(1);
        m.cores[0].page_fault(5, Context { rip: 0x5000, rsp, interrupts_enabled: true }, &m)
    };
    assert_eq!(at(0x8000 + WAIT_ROOM - 1), PageFault::Return(Work::Nothing));
    assert!(matches!(at(0x8000 + WAIT_ROOM), PageFault::Wait(_, Wait::Schedule)));
    let s = &m.cores[0].stats;
    assert_eq!((s.no_room_retries.get(), s.not_present.get(), s.most_outstanding.get()), (1, 2, 2));
}

#[test]
fn the_reason_for_a_halt_is_counted() {
    let m = machine(1);
    m.page_fault(1, 0x1500, true);
    m.page_fault(1, 0x5000, true);
    let s = &m.cores[0].stats;
    let others = [&s.halt_idle, &s.halt_guard, &s.halt_foreign_stack];
    assert_eq!((s.halt_kernel_text.get(), others.map(|counter| counter.get())), (1, [0; 3]));
}

#[test]
fn injecting_with_interrupts_off_is_the_hosts_fault() {
    assert_eq!(machine(1).page_fault(1, 0x1500, false), PageFault::BrokenHost(Token(5)));
}

/// Would fail if a host that floods the guest were never reported.
#[test]
fn many_empty_interrupts_call_the_service_thread() {
    let m = machine(1);
    (1..MANY_EMPTY).for_each(|_| assert_eq!(m.first().drain(&m), Work::Nothing));
    assert_eq!(m.called.get(), 0);
    m.first().drain(&m);
    assert_eq!((m.called.get(), m.first().stats.spurious_interrupts.get()), (1, MANY_EMPTY));
}

#[test]
fn a_legacy_ready_takes_the_same_path_without_the_area() {
    let m = machine(1);
    assert!(matches!(m.page_fault(1, 0x1500, true), PageFault::Wait(_, Wait::Halt)));
    assert_eq!(m.page_fault(2, 0x1500, true), PageFault::Return(Work::Nothing));
    assert_eq!(m.first().stats.halt_released.get(), 1);
    assert!(matches!(m.page_fault(1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    assert_eq!(m.page_fault(2, 0x5000, true), PageFault::Return(Work::Nothing));
    assert_eq!(m.page_fault(2, 0x5000, true), PageFault::Return(Work::Reschedule));
    assert_eq!((m.first().stats.handed_off.get(), m.reports().len()), (1, 1));
}

#[test]
fn a_halt_past_its_limit_goes_on_by_schedule_if_its_context_may() {
    let m = machine(1);
    let slow = m.waits(5, Wait::HaltFirst);
    assert_eq!(m.first().halt_past_limit(slow, Wait::HaltFirst, &m), PastLimit::Schedule);
    assert!(!m.is_over(0, slow));
    m.sleep(slow);
    assert_eq!(m.deliver(5), Work::Reschedule, "it wakes a task");
    assert!(m.is_over(0, slow));
    let fast = m.waits(6, Wait::HaltFirst);
    m.deliver(6);
    assert_eq!(m.first().halt_past_limit(fast, Wait::HaltFirst, &m), PastLimit::Over);
    let stats = &m.first().stats;
    assert_eq!((stats.halt_continued.get(), stats.overdue_halts.get(), m.called.get()), (1, 0, 0));
}

#[test]
fn a_halt_past_its_limit_is_retried_once_and_counted_if_it_must_halt() {
    let m = machine(1);
    let t = m.waits(5, Wait::Halt);
    for _ in 0..2 {
        assert_eq!(m.first().halt_past_limit(t, Wait::Halt, &m), PastLimit::Over);
    }
    assert!(m.is_over(0, t));
    assert_eq!((m.first().stats.overdue_halts.get(), m.called.get()), (1, 1), "the service thread reports");
    m.deliver(5);
    assert_eq!(m.first().early(), 1, "a late ready finds nobody");
}

#[test]
fn a_halt_by_policy_has_the_shorter_limit_of_two() {
    let core = machine(1).first();
    let limits = || [Wait::Halt, Wait::HaltFirst].map(|wait| core.halt_limit(wait));
    core.set_waits(Waits::Auto, 10, 1000);
    assert_eq!(limits(), [1000, 10]);
    core.set_waits(Waits::Auto, 1000, 10);
    assert_eq!(limits(), [10, 10]);
    core.set_waits(Waits::Auto, u64::MAX, u64::MAX);
    assert_eq!(limits(), [u64::MAX; 2]);
    assert_eq!(Tsc(7).after(u64::MAX), Tsc(u64::MAX));
}

#[test]
fn halts_nest() {
    let core = machine(1).first();
    core.start_halting();
    core.start_halting();
    core.stop_halting();
    assert!(core.is_halting());
    core.stop_halting();
    assert!(!core.is_halting());
}

#[test]
fn without_a_slot_for_it_a_wait_becomes_a_halt_then_a_retry() {
    let m = machine(1);
    let faults: Vec<NotPresent> = (1..=SLOTS as u32 + 1).map(|t| m.fault(t, Wait::Schedule)).collect();
    let halts = faults.iter().filter(|fault| matches!(fault, NotPresent::Wait(_, Wait::Halt))).count();
    assert_eq!((halts, faults[SLOTS]), (crate::slot::HALT_RESERVE, NotPresent::Retry));
    let stats = &m.cores[0].stats;
    assert_eq!((stats.overflow_halts.get(), stats.overflow_retries.get()), (halts as u64, 1));
}

#[test]
fn a_new_generation_forgets_early_readies_and_the_end_of_interrupt() {
    let m = machine(1);
    m.deliver(5);
    m.first().host.end_of_interrupt.host_allows();
    m.first().host.area.host_writes_token(Token(6));
    m.first().begin(&m);
    assert_eq!(m.first().host.area.ready_token(), Token::NONE);
    m.waits(5, Wait::Halt);
    assert!(!m.first().host.end_of_interrupt.signal(), "permission of the old generation");
}

#[test]
fn another_cores_fault_matches_an_early_ready_of_any_generation() {
    let m = machine(2);
    m.deliver_on(1, 5);
    m.cores[1].begin(&m);
    assert_eq!(m.fault(5, Wait::Schedule), NotPresent::Retry);
}

#[test]
fn the_end_of_a_generation_releases_everyone() {
    let m = machine(1);
    let (scheduled, halting) = (m.waits(5, Wait::Schedule), m.waits(6, Wait::Halt));
    m.first().end(&m);
    assert!(m.is_over(0, scheduled) && m.is_over(0, halting));
    // A waiter that a host made while disarmed is released by the next beginning.
    let late = m.waits(7, Wait::Schedule);
    m.first().begin(&m);
    assert!(m.is_over(0, late));
}

#[test]
fn a_program_that_wants_halts_gets_nothing_else_until_it_says_so() {
    let m = machine(1);
    m.first().set_waits(Waits::Halt, 0, u64::MAX);
    assert!(matches!(m.page_fault(1, 0x5000, true), PageFault::Wait(_, Wait::Halt)));
    m.deliver(5);
    m.first().set_waits(Waits::ByContext, 0, u64::MAX);
    assert!(matches!(m.page_fault(1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    assert_eq!(Waits::decode(7), Waits::default());
}

#[test]
fn a_finished_fault_is_reported_with_all_its_stages() {
    let m = machine(1);
    let t = m.waits(5, Wait::Halt);
    m.first().slots.get(t).park(Tsc(2));
    m.deliver(5);
    let fault = m.first().resumed(t, Wait::Halt, Tsc(20));
    assert_eq!((fault.core, fault.halt, fault.token, fault.rip), (CoreId(0), true, Token(5), 0xabc));
    let times = [fault.fault, fault.parked, fault.ready, fault.released, fault.running];
    assert_eq!(times, [1, 2, 9, 9, 20].map(Tsc));
}

#[test]
fn a_task_alone_halts_while_pages_come_fast_if_the_program_lets_it() {
    let m = machine(1);
    // Pages take 50, the way back 30 by schedule and 10 by halt.
    let wait_of = || {
        m.now.set(1);
        let PageFault::Wait(ticket, wait) = m.page_fault(1, 0x5000, true) else { panic!("should wait") };
        m.first().slots.release(Token(5), Tsc(51), Tsc(51));
        m.first().own.forget_outstanding();
        m.first().resumed(ticket, wait, Tsc(if wait == Wait::Schedule { 81 } else { 61 }));
        wait
    };
    m.first().set_waits(Waits::Auto, 100, u64::MAX);
    assert_eq!(wait_of(), Wait::Schedule, "nothing is known yet");
    assert_eq!((wait_of(), wait_of()), (Wait::HaltFirst, Wait::HaltFirst));
    assert_eq!(m.first().stats.halt_cheaper.get(), 2);
    m.first().set_waits(Waits::ByContext, 100, u64::MAX);
    assert_eq!(wait_of(), Wait::Schedule);
    m.first().set_waits(Waits::Auto, 0, u64::MAX);
    assert_eq!(wait_of(), Wait::Schedule);
}
