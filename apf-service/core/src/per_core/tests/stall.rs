//! Stall times: *some* and *full*.

use super::*;

impl Cores {
    /// Returns *some* and *full* of the first core at a time.
    fn stalled_at(&self, now: u64) -> (u64, u64) {
        let time = self.cores[0].stats.stall.read(|| Tsc(now));
        (time.some, time.full)
    }

    fn wait_at(&self, now: u64, token: u32, wait: Wait) -> Ticket {
        self.now.set(now);
        self.waits(token, wait)
    }

    fn resume_at(&self, now: u64, ticket: Ticket) {
        self.cores[0].resumed(ticket, Wait::Schedule, Tsc(now));
    }

    fn halt_at(&self, now: u64, token: u32) -> Ticket {
        let ticket = self.wait_at(now, token, Wait::Halt);
        self.cores[0].start_halting(Tsc(now));
        ticket
    }

    fn stop_halt_at(&self, now: u64, ticket: Ticket) {
        self.cores[0].stop_halting(Tsc(now));
        self.cores[0].resumed(ticket, Wait::Halt, Tsc(now));
    }

    fn scheduler_at(&self, now: u64, has_work: bool) {
        self.cores[0].note_work(has_work, || Tsc(now));
    }
}

#[test]
fn some_lasts_from_the_fault_until_its_task_runs_again() {
    let m = machine(1);
    let t = m.wait_at(100, 5, Wait::Schedule);
    m.scheduler_at(110, true);
    assert_eq!([100, 130].map(|now| m.stalled_at(now)), [(0, 0), (30, 0)]);
    m.now.set(150);
    m.deliver(5);
    assert_eq!(m.stalled_at(180), (80, 0), "another task computes");
    m.resume_at(200, t);
    assert_eq!([200, 999].map(|now| m.stalled_at(now)), [(100, 0); 2]);
}

#[test]
fn waits_that_overlap_count_once() {
    let m = machine(1);
    let first = m.wait_at(100, 5, Wait::Schedule);
    let second = m.wait_at(120, 6, Wait::Schedule);
    m.resume_at(150, first);
    assert_eq!(m.stalled_at(160), (60, 0));
    m.resume_at(170, second);
    let third = m.wait_at(1000, 7, Wait::Schedule);
    m.resume_at(1001, third);
    assert_eq!(m.stalled_at(2000), (71, 0));
}

#[test]
fn full_is_the_time_without_a_task_that_could_run() {
    let m = machine(1);
    m.scheduler_at(10, false);
    assert_eq!(m.stalled_at(50), (0, 0), "nobody waits");
    m.scheduler_at(60, true);
    let t = m.wait_at(100, 5, Wait::Schedule);
    m.scheduler_at(110, false);
    assert_eq!(m.stalled_at(115), (15, 5));
    // A timer wakes another task, which then sleeps again.
    m.scheduler_at(120, true);
    m.scheduler_at(130, true);
    m.scheduler_at(140, false);
    m.scheduler_at(150, false);
    m.scheduler_at(160, true);
    m.resume_at(170, t);
    assert_eq!(m.stalled_at(999), (70, 30));
}

#[test]
fn a_halt_is_full_also_while_a_task_could_run() {
    let m = machine(1);
    let t = m.halt_at(100, 5);
    m.scheduler_at(110, true);
    assert_eq!(m.stalled_at(120), (20, 20));
    m.stop_halt_at(130, t);
    assert_eq!(m.stalled_at(999), (30, 30));
}

#[test]
fn nested_halts_are_full_once() {
    let m = machine(1);
    let outer = m.halt_at(100, 5);
    let nested = m.halt_at(110, 6);
    m.stop_halt_at(150, nested);
    assert_eq!(m.stalled_at(160), (60, 60));
    m.stop_halt_at(170, outer);
    assert_eq!(m.stalled_at(999), (70, 70));
}

#[test]
fn a_halt_in_the_idle_task_is_full_until_a_task_can_run() {
    let m = machine(1);
    let waiting = m.wait_at(100, 5, Wait::Schedule);
    m.scheduler_at(100, false);
    let halting = m.halt_at(110, 6);
    m.stop_halt_at(120, halting);
    assert_eq!(m.stalled_at(130), (30, 30), "it idles on");
    let halting = m.halt_at(130, 7);
    m.scheduler_at(135, true);
    m.stop_halt_at(140, halting);
    assert_eq!(m.stalled_at(150), (50, 40));
    m.resume_at(160, waiting);
    // The idle task alone waits.
    m.scheduler_at(200, false);
    let halting = m.halt_at(210, 8);
    m.stop_halt_at(215, halting);
    assert_eq!(m.stalled_at(999), (65, 45));
}

#[test]
fn a_halt_that_goes_on_by_schedule_stays_a_wait() {
    let m = machine(1);
    let t = m.wait_at(100, 5, Wait::HaltFirst);
    m.first().start_halting(Tsc(100));
    assert_eq!(m.first().halt_past_limit(t, Wait::HaltFirst, &m), PastLimit::Schedule);
    m.first().stop_halting(Tsc(110));
    m.first().start_schedule_wait(Tsc(110));
    m.scheduler_at(110, true);
    m.resume_at(150, t);
    assert_eq!(m.stalled_at(999), (50, 10));
}

/// The context that is to halt is preempted before it does, by one that halts.
#[test]
fn a_halt_between_a_fault_and_its_halt_leaves_the_other_one_waiting() {
    let m = machine(1);
    let outer = m.wait_at(100, 5, Wait::Halt);
    let inner = m.halt_at(110, 6);
    m.stop_halt_at(120, inner);
    m.first().start_halting(Tsc(130));
    m.stop_halt_at(150, outer);
    assert_eq!(m.stalled_at(999), (40, 30));
}

/// The context that is to halt is preempted before it does.
#[test]
fn a_wait_that_ends_between_a_fault_and_its_halt_leaves_only_the_halt() {
    let m = machine(1);
    let scheduled = m.wait_at(100, 5, Wait::Schedule);
    let halting = m.wait_at(110, 6, Wait::Halt);
    m.resume_at(120, scheduled);
    m.first().start_halting(Tsc(130));
    m.stop_halt_at(150, halting);
    assert_eq!(m.stalled_at(999), (50, 20));
    m.scheduler_at(1000, false);
    m.scheduler_at(1010, true);
    let again = m.halt_at(1020, 7);
    m.stop_halt_at(1030, again);
    assert_eq!(m.stalled_at(1999), (60, 30));
}

#[test]
fn whatever_ends_a_wait_its_time_ends_when_its_task_runs() {
    for (way, end) in WAYS_TO_END_A_WAIT {
        let m = machine(2);
        let t = m.wait_at(100, 5, Wait::Schedule);
        m.now.set(150);
        end(&m);
        assert!(m.is_over(0, t), "{way}");
        m.resume_at(200, t);
        assert_eq!(m.stalled_at(999), (100, 0), "{way}");
    }
}

#[test]
fn a_fault_that_does_not_wait_stalls_nobody() {
    let m = machine(2);
    m.deliver(5);
    assert_eq!(m.fault(5, Wait::Schedule), NotPresent::Retry, "its ready came first");
    m.deliver_on(1, 6);
    assert_eq!(m.fault(6, Wait::Schedule), NotPresent::Retry, "and on another core");
    assert_eq!(m.stalled_at(999), (0, 0));
}

#[test]
fn after_a_restore_with_another_time_the_time_under_way_starts_anew() {
    let m = machine(1);
    let t = m.wait_at(5_000, 5, Wait::Schedule);
    m.scheduler_at(5_000, false);
    // The first one is the answer to arming.
    for _ in 0..2 {
        m.now.set(100);
        m.first().host.area.host_writes_token(Token::WAKE_ALL);
        m.first().ready(&m);
    }
    assert_eq!(m.stalled_at(110), (10, 10));
    m.scheduler_at(110, true);
    m.resume_at(120, t);
    assert_eq!(m.stalled_at(999), (20, 10));
}
