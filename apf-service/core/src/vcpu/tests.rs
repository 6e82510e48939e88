//! Each rule of the interrupt side by itself; `tests/fake_host` has them together.

use super::*;
use alloc::boxed::Box;
use core::cell::Cell;
use core::num::NonZeroU64;

use crate::sleeper::Announced;

/// The only core.
struct Alone;

impl Machine for Alone {
    fn others(&self) -> impl Iterator<Item = &VCpu> {
        core::iter::empty()
    }

    fn interrupt(&self, core: CoreId) {
        panic!("{core:?} interrupted");
    }

    fn wake(&self, slot: &Slot) -> bool {
        slot.sleeper().take().is_some()
    }
}

/// One more core.
struct Other<'a> {
    vcpu: &'a VCpu,
    interrupted: Cell<Option<CoreId>>,
}

impl Machine for Other<'_> {
    fn others(&self) -> impl Iterator<Item = &VCpu> {
        core::iter::once(self.vcpu)
    }

    fn interrupt(&self, core: CoreId) {
        self.interrupted.set(Some(core));
    }

    fn wake(&self, _slot: &Slot) -> bool {
        false
    }
}

fn vcpu() -> Box<VCpu> {
    let v = Box::new(VCpu::new(CoreId(0)));
    v.begin();
    v
}

fn ticket(n: NotPresent) -> Ticket {
    match n {
        NotPresent::Wait(t) => t,
        NotPresent::Retry => panic!("should wait"),
    }
}

fn deliver(v: &VCpu, token: u32) -> Ready {
    deliver_at(v, token, 9)
}

fn deliver_at(v: &VCpu, token: u32, at: u64) -> Ready {
    v.area.host_writes_token(Token(token));
    v.ready(&Alone, Tsc(at))
}

#[test]
fn a_scheduled_wait_is_the_services_business() {
    let v = vcpu();
    let t = ticket(v.not_present(Token(5), Wait::Schedule, 0xabc, &Alone, Tsc(1)));
    let e = v.next_event().unwrap();
    assert_eq!((e.kind, e.token, e.ticket, e.rip), (Kind::NotPresent, Token(5), t, 0xabc));
    assert_eq!(deliver(&v, 5), Ready::Taken(Work::Service));
    assert_eq!(v.next_event().unwrap().kind, Kind::Ready);
    assert!(!v.slots.get(t).is_ready(t));
    assert_eq!(v.area.ready_token(), Token::NONE);
}

#[test]
fn a_scheduled_wait_is_handed_off_where_the_tables_owner_allows_it() {
    let v = vcpu();
    v.allow_hand_off(true);
    let wait = |token| ticket(v.not_present(Token(token), Wait::Schedule, 0xabc, &Alone, Tsc(1)));
    let t = wait(5);
    let (slot, task) = (v.slots.get(t), NonZeroU64::MIN);
    let announced = slot.sleeper().announce(task, slot.word(), Slot::waiting_value(t));
    assert_eq!(announced, Announced::Block);
    assert_eq!(deliver(&v, 5), Ready::Taken(Work::Reschedule));
    assert_eq!(slot.sleeper().take(), None, "it was woken");
    assert!(v.slots.get(t).is_ready(t));
    assert_eq!(v.resumed(t, Wait::Schedule, Tsc(10)).released, Tsc(9));
    assert_eq!((v.next_event(), v.stats.over.get()), (None, 1));
    // Its ready once more finds nobody, and is the service thread's business.
    assert_eq!(deliver(&v, 5), Ready::Taken(Work::Service));
    assert_eq!(v.next_event().unwrap().kind, Kind::Ready);
    assert_eq!((v.stats.handed_off.get(), v.stats.ready.get()), (1, 2));
    // Who does not sleep yet keeps the core.
    wait(7);
    assert_eq!(deliver(&v, 7), Ready::Taken(Work::Nothing));
    v.allow_hand_off(false);
    wait(6);
    assert_eq!(deliver(&v, 6), Ready::Taken(Work::Service));
}

#[test]
fn the_events_of_hand_offs_are_cleared_away_before_they_fill_the_queue() {
    let v = vcpu();
    v.allow_hand_off(true);
    let hand_off = |n: u32| {
        let t = ticket(v.not_present(Token(n << 12), Wait::Schedule, 0, &Alone, Tsc(1)));
        let ready = deliver(&v, n << 12);
        v.resumed(t, Wait::Schedule, Tsc(10));
        ready
    };
    let first = (1..QUEUE as u32).find(|&n| hand_off(n) == Ready::Taken(Work::Service)).unwrap();
    assert_eq!(u64::from(first), HAND_OFFS_UNTOLD);
    assert_eq!((v.next_event(), v.stats.over.get()), (None, HAND_OFFS_UNTOLD));
}

#[test]
fn the_first_hand_off_after_a_pause_wakes_the_service_thread() {
    let v = vcpu();
    v.allow_hand_off(true);
    let hand_off = |n: u32, at| {
        let t = ticket(v.not_present(Token(n << 12), Wait::Schedule, 0, &Alone, Tsc(at)));
        let ready = deliver_at(&v, n << 12, at);
        v.resumed(t, Wait::Schedule, Tsc(at));
        ready
    };
    let (nothing, service) = (Ready::Taken(Work::Nothing), Ready::Taken(Work::Service));
    let at = |pauses: u64| pauses * PAUSE;
    let readies =
        [(at(1), service), (at(2) - 1, nothing), (at(2), nothing), (at(4), service), (at(4), nothing)];
    for (n, (at, expected)) in (1..).zip(readies) {
        assert_eq!(hand_off(n, at), expected, "{at}");
    }
}

#[test]
fn a_halting_wait_is_released_by_the_interrupt() {
    let v = vcpu();
    let t = ticket(v.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)));
    assert_eq!(deliver(&v, 5), Ready::Taken(Work::Nothing));
    assert!(v.slots.get(t).is_ready(t) && v.next_event().is_none());
}

#[test]
fn an_early_ready_spares_the_halt_and_is_consumed_once() {
    let v = vcpu();
    deliver(&v, 5);
    assert_eq!(v.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)), NotPresent::Retry);
    assert!(matches!(v.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)), NotPresent::Wait(_)));
    assert_eq!(v.next_event().unwrap().kind, Kind::Ready);
    let swallow = v.next_event().unwrap();
    assert_eq!((swallow.kind, swallow.ticket), (Kind::NotPresent, Ticket::NONE));
}

#[test]
fn a_ready_on_another_core_releases_who_halts_and_interrupts_its_core() {
    let (faulting, asked) = (vcpu(), vcpu());
    let t = ticket(faulting.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)));
    let other = Other { vcpu: &faulting, interrupted: Cell::new(None) };
    asked.area.host_writes_token(Token(5));
    assert_eq!(asked.ready(&other, Tsc(9)), Ready::Taken(Work::Nothing));
    assert!(faulting.slots.get(t).is_ready(t));
    assert_eq!(other.interrupted.get(), Some(CoreId(0)));
    assert_eq!(asked.stats.halt_released_elsewhere.get(), 1);
    // It was consumed: the next fault under this token waits.
    let other = Other { vcpu: &asked, ..other };
    ticket(faulting.not_present(Token(5), Wait::Halt, 0, &other, Tsc(2)));
}

#[test]
fn an_early_ready_on_another_core_spares_the_halt_once() {
    let (faulting, asked) = (vcpu(), vcpu());
    deliver(&asked, 5);
    let other = Other { vcpu: &asked, interrupted: Cell::new(None) };
    let not_present = || faulting.not_present(Token(5), Wait::Halt, 0, &other, Tsc(1));
    assert_eq!(not_present(), NotPresent::Retry);
    assert_eq!((faulting.slots.in_use(), faulting.stats.early_ready.get()), (0, 1));
    assert_eq!(faulting.next_event().unwrap().ticket, Ticket::NONE);
    ticket(not_present());
}

#[test]
fn an_empty_interrupt_is_tolerated() {
    assert_eq!(vcpu().ready(&Alone, Tsc(0)), Ready::Empty);
}

#[test]
fn wake_all_releases_the_halting_and_tells_the_service() {
    let v = vcpu();
    let t = ticket(v.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)));
    assert_eq!(deliver(&v, u32::MAX), Ready::Taken(Work::Service));
    assert!(v.slots.get(t).is_ready(t));
    assert_eq!(v.next_event().unwrap().kind, Kind::WakeAll);
}

#[test]
fn a_ready_that_finds_the_queue_full_releases_everyone_after_the_drain() {
    let v = vcpu();
    let t = ticket(v.not_present(Token(5), Wait::Schedule, 0, &Alone, Tsc(1)));
    for t in 1..QUEUE as u32 {
        assert!(matches!(deliver(&v, 1000 + t), Ready::Taken(_)));
    }
    assert_eq!(deliver(&v, 5), Ready::Taken(Work::Service));
    assert_eq!((v.area.ready_token(), v.stats.deferred_ready.get()), (Token::NONE, 1));
    // A fault meanwhile halts: the halt needs no queue.
    ticket(v.not_present(Token(3000), Wait::Schedule, 0, &Alone, Tsc(1)));
    assert_eq!((v.stats.overflow_halts.get(), v.stats.halt_waits.get()), (1, 1));
    let events: alloc::vec::Vec<_> = core::iter::from_fn(|| v.next_event()).collect();
    assert_eq!((events.len(), events[0].ticket), (QUEUE + 1, t));
    assert_eq!(events[QUEUE].kind, Kind::WakeAll);
}

#[test]
fn a_wake_all_that_finds_the_queue_full_is_not_lost() {
    let v = vcpu();
    for t in 1..=QUEUE as u32 {
        deliver(&v, t);
    }
    deliver(&v, u32::MAX);
    assert_eq!(core::iter::from_fn(|| v.next_event()).filter(|e| e.kind == Kind::WakeAll).count(), 1);
}

#[test]
fn the_drain_acknowledges_each_token_after_clearing_it() {
    let v = vcpu();
    let mut left = 3;
    v.area.host_writes_token(Token(1));
    let acknowledge = || {
        assert_eq!(v.area.ready_token(), Token::NONE);
        left -= 1;
        if left > 0 {
            v.area.host_writes_token(Token(left));
        }
    };
    assert_eq!(v.drain(&Alone, || Tsc(1), acknowledge), Work::Service);
    assert_eq!((left, v.stats.ready.get(), v.stats.spurious_interrupts.get()), (0, 3, 0));
    assert_eq!(v.drain(&Alone, || Tsc(1), || unreachable!()), Work::Nothing);
    assert_eq!(v.stats.spurious_interrupts.get(), 1);
}

#[test]
fn a_host_that_never_stops_is_cut_short() {
    let v = vcpu();
    v.area.host_writes_token(Token(7));
    v.drain(&Alone, || Tsc(1), || v.area.host_writes_token(Token(7)));
    assert_eq!(v.stats.ready.get(), 2 * OUTSTANDING_PER_VCPU as u64);
}

#[test]
fn outstanding_counts_what_the_host_still_owes() {
    let v = vcpu();
    for t in 1..=3 {
        v.not_present(Token(t), Wait::Schedule, 0, &Alone, Tsc(1));
    }
    deliver(&v, 1);
    v.not_present(Token(4), Wait::Schedule, 0, &Alone, Tsc(1));
    assert_eq!((v.stats.most_outstanding.get(), v.stats.most_waiting.get()), (3, 4));
    // A new life owes nothing of the old.
    v.begin();
    v.not_present(Token(5), Wait::Schedule, 0, &Alone, Tsc(1));
    deliver(&v, 5);
    deliver(&v, 6);
    assert_eq!(v.stats.most_outstanding.get(), 3);
}

#[test]
fn reaching_the_hosts_limit_is_counted_each_time() {
    let v = vcpu();
    for t in 1..=66 {
        v.not_present(Token(t), Wait::Schedule, 0, &Alone, Tsc(1));
    }
    assert_eq!(v.stats.budget_spent.get(), 1);
    for t in 1..=3 {
        deliver(&v, t);
    }
    v.not_present(Token(67), Wait::Schedule, 0, &Alone, Tsc(1));
    assert_eq!(v.stats.budget_spent.get(), 2);
}

#[test]
fn tokens_that_cannot_name_a_fault_are_retried() {
    let v = vcpu();
    for token in [Token::NONE, Token::WAKE_ALL] {
        assert_eq!(v.not_present(token, Wait::Halt, 0, &Alone, Tsc(1)), NotPresent::Retry);
    }
    assert_eq!((v.stats.impossible_token.get(), v.slots.in_use()), (2, 0));
}

const TEXT: Range<u64> = 0x1000..0x2000;

fn page_fault(v: &VCpu, flags: u32, rip: u64, interrupts_enabled: bool) -> PageFault {
    v.area.host_writes_reason(flags);
    let task = || Task { user_stack: 0x8000..0x9000, critical_depth: 0, is_idle: false, is_alone: true };
    v.page_fault(5, Context { rip, rsp: 0x8800, interrupts_enabled }, &TEXT, task, &Alone, Tsc(1))
}

#[test]
fn only_faults_of_the_protocol_are_ours() {
    let v = vcpu();
    assert_eq!(page_fault(&v, 0, 0x5000, true), PageFault::NotOurs);
    assert_eq!(page_fault(&v, 4, 0x5000, true), PageFault::NotOurs);
    assert_eq!((v.stats.unknown_reason.get(), v.stats.not_present.get()), (1, 0));
}

#[test]
fn a_fault_waits_as_its_context_may() {
    let v = vcpu();
    assert!(matches!(page_fault(&v, 1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    assert!(matches!(page_fault(&v, 1, 0x1500, true), PageFault::Wait(_, Wait::Halt)));
    deliver(&v, 5);
    deliver(&v, 5);
    assert_eq!(page_fault(&v, 1, 0x5000, true), PageFault::Return(Work::Nothing));
}

#[test]
fn why_a_context_halts_is_counted() {
    let v = vcpu();
    page_fault(&v, 1, 0x1500, true);
    page_fault(&v, 1, 0x5000, true);
    let s = &v.stats;
    let others = [&s.halt_idle, &s.halt_guard, &s.halt_foreign_stack];
    assert_eq!((s.halt_kernel_text.get(), others.map(|counter| counter.get())), (1, [0; 3]));
}

#[test]
fn injecting_with_interrupts_off_is_the_hosts_fault() {
    let v = vcpu();
    assert_eq!(page_fault(&v, 1, 0x1500, false), PageFault::BrokenHost(Token(5)));
}

#[test]
fn a_legacy_ready_takes_the_same_path_without_the_area() {
    let v = vcpu();
    assert!(matches!(page_fault(&v, 1, 0x1500, true), PageFault::Wait(_, Wait::Halt)));
    assert_eq!(page_fault(&v, 2, 0x1500, true), PageFault::Return(Work::Nothing));
    assert_eq!(v.stats.halt_released.get(), 1);
    assert!(matches!(page_fault(&v, 1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    assert_eq!(page_fault(&v, 2, 0x5000, true), PageFault::Return(Work::Service));
    assert_eq!(core::iter::from_fn(|| v.next_event()).last().unwrap().kind, Kind::Ready);
}

#[test]
fn halts_nest() {
    let v = vcpu();
    v.start_halting();
    v.start_halting();
    v.stop_halting();
    assert!(v.is_halting());
    v.stop_halting();
    assert!(!v.is_halting());
}

#[test]
fn without_any_slot_the_access_is_retried() {
    let v = vcpu();
    while v.slots.take(Token(1), Wait::Halt, Tsc(0)).is_some() {}
    assert_eq!(v.not_present(Token(5), Wait::Schedule, 0, &Alone, Tsc(1)), NotPresent::Retry);
    assert_eq!(v.stats.overflow_retries.get(), 1);
}

#[test]
fn a_new_life_forgets_early_readies() {
    let v = vcpu();
    deliver(&v, 5);
    v.begin();
    assert!(matches!(v.not_present(Token(5), Wait::Halt, 0, &Alone, Tsc(1)), NotPresent::Wait(_)));
}

#[test]
fn the_end_of_a_life_releases_everyone_and_empties_the_table() {
    let v = vcpu();
    let scheduled = ticket(v.not_present(Token(5), Wait::Schedule, 0, &Alone, Tsc(1)));
    let halting = ticket(v.not_present(Token(6), Wait::Halt, 0, &Alone, Tsc(1)));
    v.end(&Alone, Tsc(2));
    assert!(v.slots.get(scheduled).is_ready(scheduled) && v.slots.get(halting).is_ready(halting));
    let kinds: alloc::vec::Vec<Kind> = core::iter::from_fn(|| v.next_event()).map(|e| e.kind).collect();
    assert_eq!((kinds, v.stats.over.get()), (alloc::vec![Kind::WakeAll], 1));
}

#[test]
fn a_program_that_wants_halts_gets_nothing_else_until_it_says_so() {
    let v = vcpu();
    v.set_waits(Waits::Halt, 0);
    assert!(matches!(page_fault(&v, 1, 0x5000, true), PageFault::Wait(_, Wait::Halt)));
    v.set_waits(Waits::ByContext, 0);
    assert!(matches!(page_fault(&v, 1, 0x5000, true), PageFault::Wait(_, Wait::Schedule)));
    assert_eq!(Waits::decode(7), Waits::default());
}

#[test]
fn a_fault_that_is_over_tells_its_whole_life() {
    let v = vcpu();
    let t = ticket(v.not_present(Token(5), Wait::Halt, 0xabc, &Alone, Tsc(1)));
    v.slots.get(t).park(Tsc(2));
    deliver(&v, 5);
    let fault = v.resumed(t, Wait::Halt, Tsc(20));
    assert_eq!((fault.core, fault.halt, fault.token, fault.rip), (CoreId(0), true, Token(5), 0xabc));
    let times = [fault.fault, fault.parked, fault.ready, fault.released, fault.running];
    assert_eq!(times, [1, 2, 9, 9, 20].map(Tsc));
}

#[test]
fn a_task_alone_halts_while_pages_come_fast_if_the_program_lets_it() {
    // Pages take 50, the way back 30 by schedule and 10 by halt.
    let wait_of = |v: &VCpu| {
        let PageFault::Wait(ticket, wait) = page_fault(v, 1, 0x5000, true) else { panic!("should wait") };
        v.slots.release(ticket, Tsc(51), Tsc(51));
        v.outstanding.store(0, Relaxed);
        v.resumed(ticket, wait, Tsc(if wait == Wait::Halt { 61 } else { 81 }));
        wait
    };
    let v = vcpu();
    v.set_waits(Waits::Auto, 100);
    assert_eq!(wait_of(&v), Wait::Schedule, "nothing is known yet");
    assert_eq!((wait_of(&v), wait_of(&v)), (Wait::Halt, Wait::Halt));
    assert_eq!(v.stats.halt_cheaper.get(), 2);
    v.set_waits(Waits::ByContext, 100);
    assert_eq!(wait_of(&v), Wait::Schedule);
    v.set_waits(Waits::Auto, 0);
    assert_eq!(wait_of(&v), Wait::Schedule);
}
