//! Rules of a #PF.

use super::*;

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
