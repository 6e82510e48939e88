//! Rules of the ready interrupt.

use super::*;

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

#[test]
fn a_halting_wait_is_released_by_its_ready_interrupt() {
    let m = machine(1);
    let t = m.waits(5, Wait::Halt);
    assert_eq!(m.deliver(5), Work::Nothing);
    assert!(m.is_over(0, t) && m.reports().is_empty());
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
