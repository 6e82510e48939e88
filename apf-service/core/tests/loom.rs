//! Every interleaving of the places where two contexts meet, explored by loom.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p apf-core --test loom
//! ```
//!
//! `Slots` and `Sleeper` are the real code. Blocking and waking are modelled by the
//! kernel's contract: with interrupts off (here a lock) a wake-up does not arrive, and
//! one for a task that is not blocked does nothing. Bugs that they find: a release whose
//! effects the waiter does not see, a wake-up that falls between check and sleep (loom then
//! reports a deadlock), a release that ends another wait.
#![cfg(loom)]

use std::num::NonZeroU64;

use apf_core::classify::Wait;
use apf_core::early_ready::{EarlyCount, EarlyReady};
use apf_core::event::Generation;
use apf_core::protocol::Token;
use apf_core::remote_ready::{release, release_halting, take_early};
use apf_core::sleeper::{Announced, Sleeper};
use apf_core::slot::{NewWait, Slot, Ticket};
use apf_core::slots::Slots;
use apf_core::sync::AtomicU32;
use apf_core::time::Tsc;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

const TOKEN: Token = Token(7);

fn take(slots: &Slots, token: Token, wait: Wait) -> Ticket {
    slots.take(NewWait { token, wait, fault: Tsc(1), rip: 0 }).unwrap()
}

/// The core of the one task that waits.
#[derive(Default)]
struct Kernel {
    /// True while the task is blocked; held while its interrupts are off.
    blocked: Mutex<bool>,
    woken: Condvar,
}

impl Kernel {
    /// `futex::wait` of `apf-kernel`.
    fn wait(&self, sleeper: &Sleeper, word: &AtomicU32, expected: u32) {
        let mut blocked = self.blocked.lock().unwrap();
        if sleeper.announce(NonZeroU64::MIN, word, expected) == Announced::GoOn {
            return;
        }
        *blocked = true;
        while *blocked {
            blocked = self.woken.wait(blocked).unwrap();
        }
        drop(blocked);
        sleeper.take();
    }

    /// `futex::wake` of `apf-kernel`.
    fn wake(&self, sleeper: &Sleeper) {
        if sleeper.take().is_some() {
            *self.blocked.lock().unwrap() = false;
            self.woken.notify_all();
        }
    }
}

#[derive(Default)]
struct World {
    slots: Slots,
    kernel: Kernel,
}

impl World {
    /// `wait` of `apf-kernel` and what follows it.
    fn wait(&self, ticket: Ticket) -> Tsc {
        let slot = self.slots.get(ticket);
        while !slot.is_ready(ticket) {
            self.kernel.wait(slot.sleeper(), slot.word(), Slot::waiting_value(ticket));
        }
        self.slots.finish(ticket).ready
    }

    /// A ready: in its interrupt, or in the service thread.
    fn release(&self, token: Token, ready: Tsc) -> bool {
        let released = self.slots.release(token, ready, ready);
        released.inspect(|(slot, _)| self.kernel.wake(slot.sleeper())).is_some()
    }

    /// `Core::end`, of a disarming core.
    fn release_everyone(&self, now: Tsc) {
        self.slots.release_all(None, now, |slot, _| self.kernel.wake(slot.sleeper()));
    }
}

#[test]
fn a_scheduled_waiter_is_woken_whenever_it_is_released() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = take(&world.slots, TOKEN, Wait::Schedule);
        let service = {
            let world = world.clone();
            thread::spawn(move || assert!(world.release(TOKEN, Tsc(5))))
        };
        // The waiter sees what its waker wrote before.
        assert_eq!(world.wait(ticket), Tsc(5));
        service.join().unwrap();
    });
}

/// A wake-up that is under way belongs to this wait: the waiter does not go on before it
/// has come, or it would wake the task from whatever it blocks for next.
#[test]
fn a_waiter_takes_its_wake_up_with_it() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = take(&world.slots, TOKEN, Wait::Schedule);
        let service = {
            let world = world.clone();
            thread::spawn(move || world.release(TOKEN, Tsc(5)))
        };
        world.wait(ticket);
        *world.kernel.blocked.lock().unwrap() = true;
        service.join().unwrap();
        assert!(*world.kernel.blocked.lock().unwrap(), "woken from another wait");
    });
}

#[test]
fn of_two_wakers_one_releases() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = take(&world.slots, TOKEN, Wait::Schedule);
        let service = {
            let world = world.clone();
            thread::spawn(move || world.release(TOKEN, Tsc(5)))
        };
        // The ready interrupt on the waiter's core.
        let here = world.release(TOKEN, Tsc(6));
        assert_ne!(service.join().unwrap(), here);
        world.wait(ticket);
    });
}

/// Whoever meets a waiting slot sees the token and the time of that wait.
#[test]
fn a_slot_that_waits_shows_its_own_token_and_time() {
    loom::model(|| {
        let slots = Arc::new(Slots::default());
        let watchdog = {
            let slots = slots.clone();
            thread::spawn(move || {
                assert!(slots.tokens().all(|token| token == TOKEN));
                assert!(slots.release_overdue(Tsc(2), 1).is_none(), "it started at 1");
            })
        };
        take(&slots, TOKEN, Wait::Schedule);
        watchdog.join().unwrap();
    });
}

/// The service thread looks for a token while the core disarms, the waiter returns its
/// slot, and the slot starts to wait for another.
#[test]
fn a_release_never_ends_the_next_wait_of_a_slot() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let first = take(&world.slots, TOKEN, Wait::Schedule);
        let service = {
            let world = world.clone();
            thread::spawn(move || {
                world.release(TOKEN, Tsc(5));
            })
        };
        // Disarming and the tasks share one core, so one thread stands for both.
        world.release_everyone(Tsc(6));
        world.wait(first);
        let next = Token(8);
        let second = take(&world.slots, next, Wait::Schedule);
        assert_ne!(first, second);
        service.join().unwrap();
        assert!(!world.slots.get(second).is_ready(second));
        assert!(world.release(next, Tsc(8)));
        assert_eq!(world.wait(second), Tsc(8));
    });
}

/// Three threads: bounded to three preemptions, which finds nearly all bugs
/// (Musuvathi and Qadeer, PLDI 2007) in seconds instead of hours.
fn bounded() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model
}

/// Disarming a core while the service thread releases and the waiter sleeps.
#[test]
fn disarming_leaves_nobody_asleep() {
    bounded().check(|| {
        let world = Arc::new(World::default());
        let ticket = take(&world.slots, TOKEN, Wait::Schedule);
        let service = {
            let world = world.clone();
            thread::spawn(move || {
                world.release(TOKEN, Tsc(5));
            })
        };
        let core = {
            let world = world.clone();
            thread::spawn(move || world.release_everyone(Tsc(6)))
        };
        world.wait(ticket);
        service.join().unwrap();
        core.join().unwrap();
        assert_eq!(world.slots.in_use(), 0);
    });
}

/// Halting: check and halt are one step for the core's interrupts, which is
/// what `cli; check; sti; hlt` makes them; here a lock and a condition.
#[test]
fn a_halting_waiter_sees_its_ready_interrupt() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = take(&world.slots, TOKEN, Wait::Halt);
        let interrupt = {
            let world = world.clone();
            thread::spawn(move || {
                let interrupt = world.kernel.blocked.lock().unwrap();
                assert!(world.slots.release_halting(TOKEN, Tsc(5)));
                drop(interrupt);
                world.kernel.woken.notify_all();
            })
        };
        let slot = world.slots.get(ticket);
        let mut interrupts_off = world.kernel.blocked.lock().unwrap();
        while !slot.is_ready(ticket) {
            interrupts_off = world.kernel.woken.wait(interrupts_off).unwrap();
        }
        drop(interrupts_off);
        assert_eq!(world.slots.finish(ticket).ready, Tsc(5));
        interrupt.join().unwrap();
    });
}

/// Two cores and the service thread, of a ready that comes on another core than its fault.
#[derive(Default)]
struct TwoCores {
    slots: Slots,
    /// Of the core on which the ready comes.
    early: EarlyReady,
    count: EarlyCount,
}

impl TwoCores {
    /// A's side of `remote_ready`: whether it released the waiter.
    fn ready_elsewhere(&self) -> bool {
        self.early.remember(TOKEN, Generation(1), &self.count);
        release_halting([(0, &self.slots)].into_iter(), TOKEN, Tsc(5)).is_some()
    }

    /// B's side: the ticket, and whether the ready had come.
    fn fault(&self, wait: Wait) -> (Ticket, bool) {
        let ticket = take(&self.slots, TOKEN, wait);
        (ticket, take_early([&self.early].into_iter(), TOKEN, &self.count))
    }
}

#[test]
fn a_ready_on_another_core_and_a_halting_fault_do_not_miss_each_other() {
    loom::model(|| {
        let both = Arc::new(TwoCores::default());
        let ready = {
            let both = both.clone();
            thread::spawn(move || both.ready_elsewhere())
        };
        let (ticket, came) = both.fault(Wait::Halt);
        let released = ready.join().unwrap();
        assert!(came || released, "the waiter halts for ever");
        assert_eq!(released, both.slots.get(ticket).is_ready(ticket));
    });
}

/// The interrupt leaves who is scheduled to the service thread, by an event (here a lock
/// and a condition) that orders the thread behind the interrupt's fence.
#[test]
fn a_ready_on_another_core_and_a_scheduled_fault_do_not_miss_each_other() {
    bounded().check(|| {
        let both = Arc::new(TwoCores::default());
        let queue = Arc::new((Mutex::new(false), Condvar::new()));
        let ready = {
            let (both, queue) = (both.clone(), queue.clone());
            thread::spawn(move || {
                assert!(!both.ready_elsewhere(), "nobody halts");
                *queue.0.lock().unwrap() = true;
                queue.1.notify_one();
            })
        };
        let service = {
            let both = both.clone();
            thread::spawn(move || {
                let mut event = queue.0.lock().unwrap();
                while !*event {
                    event = queue.1.wait(event).unwrap();
                }
                drop(event);
                release([(0, &both.slots)].into_iter(), TOKEN, Tsc(5), Tsc(6)).is_some()
            })
        };
        let (ticket, came) = both.fault(Wait::Schedule);
        ready.join().unwrap();
        let released = service.join().unwrap();
        assert!(came || released, "the waiter sleeps for ever");
        assert_eq!(released, both.slots.get(ticket).is_ready(ticket));
        assert_eq!(both.count.get(), u32::from(!came), "the service thread would take it now");
    });
}

/// A halt goes on by schedule while its ready comes on another core: the interrupt there
/// leaves it to the service thread if it no longer halts.
#[test]
fn a_halt_that_goes_on_by_schedule_does_not_miss_a_ready_on_another_core() {
    loom::model(|| {
        let both = Arc::new(TwoCores::default());
        let kernel = Arc::new(Kernel::default());
        let ticket = take(&both.slots, TOKEN, Wait::HaltFirst);
        let ready = {
            let (both, kernel) = (both.clone(), kernel.clone());
            thread::spawn(move || {
                if !both.ready_elsewhere() {
                    // The service thread, after the event.
                    let slots = [(0, &both.slots)].into_iter();
                    let (_, slot, _) = release(slots, TOKEN, Tsc(5), Tsc(6)).expect("it waits");
                    kernel.wake(slot.sleeper());
                }
            })
        };
        let slot = both.slots.get(ticket);
        if both.slots.schedule_instead(ticket) {
            while !slot.is_ready(ticket) {
                kernel.wait(slot.sleeper(), slot.word(), Slot::waiting_value(ticket));
            }
        }
        assert!(slot.is_ready(ticket));
        assert_eq!(both.slots.finish(ticket).ready, Tsc(5));
        ready.join().unwrap();
    });
}

/// The service thread's own sleep: `apf_work`, `apf_serve`, `apf_sleep`
/// against `wake_up_service` of an interrupt on another core. The queue is
/// crossbeam's, which has its own models; here it is one event.
#[test]
fn the_service_thread_does_not_sleep_past_an_event() {
    struct Service {
        work: AtomicU32,
        queue: Mutex<u32>,
        kernel: Kernel,
        sleeper: Sleeper,
    }
    loom::model(|| {
        let service = Arc::new(Service {
            work: AtomicU32::new(0),
            queue: Mutex::new(0),
            kernel: Kernel::default(),
            sleeper: Sleeper::default(),
        });
        let interrupt = {
            let service = service.clone();
            thread::spawn(move || {
                *service.queue.lock().unwrap() += 1;
                service.work.fetch_add(1, Release);
                service.kernel.wake(&service.sleeper);
            })
        };
        loop {
            let seen = service.work.load(Acquire);
            if *service.queue.lock().unwrap() == 1 {
                break;
            }
            service.kernel.wait(&service.sleeper, &service.work, seen);
        }
        interrupt.join().unwrap();
    });
}

/// A waiter that meets the end of its wait without having slept sees its times.
#[test]
fn a_wait_that_is_over_shows_the_times_of_its_end() {
    loom::model(|| {
        let slots = Arc::new(Slots::default());
        let ticket = take(&slots, TOKEN, Wait::Halt);
        let waiter = {
            let slots = slots.clone();
            thread::spawn(move || {
                if slots.get(ticket).is_ready(ticket) {
                    assert_eq!(slots.finish(ticket).ready, Tsc(5));
                }
            })
        };
        assert!(slots.release_halting(TOKEN, Tsc(5)));
        waiter.join().unwrap();
    });
}
