//! Every interleaving of the places where two contexts meet, explored by loom.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p apf-core --test loom
//! ```
//!
//! `Slots` and `Sleeper` are the real code. Blocking and waking are modelled by the
//! kernel's contract: with interrupts off (here a lock) a wake-up does not arrive, and
//! one for a task that is not blocked does nothing. What would break these: a release whose effects the waiter does not
//! see, a wake-up that falls between check and sleep (loom then reports a
//! deadlock), a stale ticket that ends somebody else's wait.
#![cfg(loom)]

use std::num::NonZeroU64;

use apf_core::classify::Wait;
use apf_core::crossing::{came_elsewhere, release_elsewhere};
use apf_core::event::Generation;
use apf_core::protocol::Token;
use apf_core::recent::RecentReady;
use apf_core::sleeper::{Announced, Sleeper};
use apf_core::slots::{Released, Slot, Slots, Ticket};
use apf_core::sync::AtomicU32;
use apf_core::time::Tsc;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The core of the one task that waits.
#[derive(Default)]
struct Kernel {
    /// Whether the task is blocked; held while its interrupts are off.
    blocked: Mutex<bool>,
    woken: Condvar,
}

impl Kernel {
    /// `kernel::futex::wait`.
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

    /// `kernel::futex::wake`.
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
    /// `kernel::wait::schedule` and what follows it.
    fn wait(&self, ticket: Ticket) -> Tsc {
        let slot = self.slots.get(ticket);
        while !slot.is_ready(ticket) {
            self.kernel.wait(slot.sleeper(), slot.word(), Slot::waiting_value(ticket));
        }
        self.slots.finish(ticket).ready
    }

    /// `kernel::exports::apf_release`.
    fn release(&self, ticket: Ticket, ready: Tsc) -> Released {
        let released = self.slots.release(ticket, ready, ready);
        if released == Released::Scheduled {
            self.kernel.wake(self.slots.get(ticket).sleeper());
        }
        released
    }

    /// `VCpu::end`, of a disarming core.
    fn release_everyone(&self, now: Tsc) {
        self.slots.release_everyone(now, |slot| self.kernel.wake(slot.sleeper()));
    }
}

#[test]
fn a_scheduled_waiter_is_woken_whenever_it_is_released() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = world.slots.take(Token(7), Wait::Schedule, Tsc(1)).unwrap();
        let service = {
            let world = world.clone();
            thread::spawn(move || assert_eq!(world.release(ticket, Tsc(5)), Released::Scheduled))
        };
        // The waiter sees what its waker wrote before.
        assert_eq!(world.wait(ticket), Tsc(5));
        service.join().unwrap();
    });
}

#[test]
fn of_two_wakers_one_releases() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let ticket = world.slots.take(Token(7), Wait::Schedule, Tsc(1)).unwrap();
        let service = {
            let world = world.clone();
            thread::spawn(move || world.release(ticket, Tsc(5)) == Released::Scheduled)
        };
        // The ready interrupt on the waiter's core.
        let handed_off = world.slots.release_scheduled(Token(7), Tsc(6));
        handed_off.inspect(|slot| world.kernel.wake(slot.sleeper()));
        let here = handed_off.is_some();
        assert_ne!(service.join().unwrap(), here);
        world.wait(ticket);
    });
}

/// The service thread releases by a ticket while the core disarms, the waiter
/// returns its slot, and the slot begins another wait.
#[test]
fn a_stale_ticket_never_ends_the_next_wait_of_its_slot() {
    loom::model(|| {
        let world = Arc::new(World::default());
        let first = world.slots.take(Token(7), Wait::Schedule, Tsc(1)).unwrap();
        let service = {
            let world = world.clone();
            thread::spawn(move || {
                world.release(first, Tsc(5));
            })
        };
        // Disarming and the tasks share one core, so one thread stands for both.
        world.release_everyone(Tsc(6));
        world.wait(first);
        let second = world.slots.take(Token(7), Wait::Schedule, Tsc(7)).unwrap();
        assert_ne!(first, second);
        service.join().unwrap();
        assert!(!world.slots.get(second).is_ready(second));
        assert_eq!(world.release(second, Tsc(8)), Released::Scheduled);
        assert_eq!(world.wait(second), Tsc(8));
    });
}

/// Disarming a core while the service thread releases and the waiter sleeps.
/// Three threads: bounded to three preemptions, which finds nearly all bugs
/// (Musuvathi and Qadeer, PLDI 2007) in seconds instead of hours.
#[test]
fn disarming_leaves_nobody_asleep() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = Arc::new(World::default());
        let ticket = world.slots.take(Token(7), Wait::Schedule, Tsc(1)).unwrap();
        let service = {
            let world = world.clone();
            thread::spawn(move || {
                world.release(ticket, Tsc(5));
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
        let ticket = world.slots.take(Token(7), Wait::Halt, Tsc(1)).unwrap();
        let interrupt = {
            let world = world.clone();
            thread::spawn(move || {
                let interrupt = world.kernel.blocked.lock().unwrap();
                assert!(world.slots.release_halting(Token(7), Tsc(5)));
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

/// A ready on another core, against the fault of this one: whoever comes
/// second sees the other (`crossing`).
#[test]
fn a_ready_on_another_core_and_its_fault_do_not_miss_each_other() {
    #[derive(Default)]
    struct Core {
        slots: Slots,
        recent: RecentReady,
    }
    loom::model(|| {
        let (here, there) = (Arc::new(Core::default()), Arc::new(Core::default()));
        let asked = {
            let (here, there) = (here.clone(), there.clone());
            thread::spawn(move || {
                there.recent.remember(Token(7), Generation(1));
                release_elsewhere([(0, &here.slots)].into_iter(), Token(7), Tsc(5)).is_some()
            })
        };
        let ticket = here.slots.take(Token(7), Wait::Halt, Tsc(1)).unwrap();
        let came = came_elsewhere([&there.recent].into_iter(), Token(7));
        let released = asked.join().unwrap();
        assert!(came || released, "the waiter halts for ever");
        assert_eq!(released, here.slots.get(ticket).is_ready(ticket));
    });
}

/// The service thread's own sleep: `apf_work`, `apf_events`, `apf_sleep`
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
