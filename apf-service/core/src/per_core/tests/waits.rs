//! How waits end, and generations.

use super::*;
use alloc::vec;

/// Would fail if the word were set and the task that sleeps on it were not woken.
#[test]
fn whatever_ends_a_wait_by_schedule_wakes_its_task() {
    for (way, end) in WAYS_TO_END_A_WAIT {
        let m = machine(2);
        let t = m.waits(5, Wait::Schedule);
        m.sleep(t);
        end(&m);
        assert!(m.is_over(0, t) && !m.is_asleep(t), "{way}");
    }
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
fn an_overdue_wait_is_retried_once_and_reported() {
    let m = machine(2);
    let t = ticket(m.fault_on(1, 5, Wait::Schedule));
    m.now.set(11);
    assert_eq!(m.retry_overdue(10), []);
    m.now.set(12);
    let overdue = Report::Overdue { core: CoreId(1), token: Token(5), rip: 0xabc, waited: 11 };
    assert_eq!(m.retry_overdue(10), [overdue]);
    assert_eq!(m.retry_overdue(10), []);
    assert!(m.is_over(1, t));
}

#[test]
fn a_retry_spares_a_core_on_which_a_task_could_run_for_eight_limits() {
    let m = machine(1);
    m.waits(5, Wait::Schedule);
    m.has_work.set(true);
    m.now.set(11);
    assert_eq!(m.retry_overdue(10), []);
    m.now.set(81);
    assert_eq!(m.retry_overdue(10), [Report::Late { core: CoreId(0) }]);
    m.now.set(82);
    assert!(matches!(m.retry_overdue(10)[..], [Report::Overdue { .. }]));
}

#[test]
fn as_many_waits_are_retried_as_are_allowed_and_the_rest_is_reported_once() {
    let m = machine(2);
    for token in 1..=3 {
        m.waits(token, Wait::Schedule);
        m.fault_on(1, token + 3, Wait::Schedule);
    }
    m.now.set(50);
    let tokens = |most| {
        let reports = m.retry(Retries { most, overdue: 10, beside_work: 10 });
        let token = |report: &Report| if let Report::Overdue { token, .. } = report { token.0 } else { 0 };
        reports.iter().map(token).collect::<Vec<_>>()
    };
    assert_eq!((tokens(0), tokens(2), tokens(3)), (vec![], vec![1, 2], vec![3, 4, 5]));
    m.waits(7, Wait::Schedule);
    m.now.set(100);
    assert_eq!(tokens(u64::MAX), [7, 6]);
    m.waits(8, Wait::Schedule);
    m.has_work.set(true);
    m.now.set(111);
    assert_eq!(m.retry_overdue(10), [Report::Late { core: CoreId(0) }]);
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
    core.start_halting(Tsc(1));
    core.start_halting(Tsc(2));
    core.stop_halting(Tsc(3));
    assert!(core.is_halting());
    core.stop_halting(Tsc(4));
    assert!(!core.is_halting());
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
