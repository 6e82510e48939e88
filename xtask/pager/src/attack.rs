//! Attacks on the guest's async page faults, each in a thread of its own.
//!
//! ```text
//!   KVM, in the virtual CPU's thread        this thread                guest
//!   token → area, interrupt ──────────────► sees it, takes it away
//!                                                                      interrupt: no token there
//! ```
//!
//! KVM writes the area and then enters the guest. This thread looks at the area all the time, so it
//! mostly comes between the two.

use crate::hostile::{self, Target};
use crate::ram::GuestRam;
use apf_vocabulary::attack::Attack;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// KVM's token that wakes all; it is left alone.
const WAKE_ALL: u32 = u32::MAX;
/// Reason of a fault that KVM injects.
const NOT_PRESENT: u32 = 1;
/// Time for which tokens are held back.
const HELD: Duration = Duration::from_millis(50);
/// Time between invented events.
const PAUSE: Duration = Duration::from_millis(2);
const FLOOD: Duration = Duration::from_micros(30);
/// Time for which an overrun goes on, and pauses.
const TURN: Duration = Duration::from_millis(100);

/// A running attack.
#[derive(Debug)]
pub struct Attacker {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Attacker {
    /// Starts `attack` on the guest with this RAM, unless it is [`Attack::None`].
    ///
    /// # Errors
    /// The guest has not turned async page faults on, or there is no thread.
    pub fn start(attack: Attack, ram: &GuestRam) -> Result<Option<Self>, String> {
        if attack == Attack::None {
            return Ok(None);
        }
        let targets = Target::all(ram);
        if targets.is_empty() {
            return Err("the guest has not turned async page faults on".into());
        }
        let (stop, hits) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let mut way = Way { hits: hits.clone(), stop: stop.clone(), random: SmallRng::seed_from_u64(1) };
        let thread = thread::Builder::new().name("apf-attack".into()).spawn(move || way.go(attack, &targets));
        let thread = thread.map_err(|error| format!("no thread for the attack: {error}"))?;
        Ok(Some(Self { stop, hits, thread }))
    }

    /// Ends the attack, and returns how often it has hit.
    pub fn end(self) -> u64 {
        /// A thread that waits for a page waits for the caller.
        const PATIENCE: Duration = Duration::from_secs(1);
        self.stop.store(true, SeqCst);
        let started = Instant::now();
        while !self.thread.is_finished() && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        self.hits.load(SeqCst)
    }
}

/// The thread of an attack.
struct Way {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
    random: SmallRng,
}

impl Way {
    fn go(&mut self, attack: Attack, targets: &[Target]) {
        hostile::place_attack();
        match attack {
            Attack::None => {}
            Attack::Lose => self.watch(targets, |way, target| {
                way.take(target);
            }),
            Attack::Withhold => self.watch(targets, |way, target| {
                let invented = way.invented();
                way.hit(put(target, invented));
            }),
            Attack::Reorder => self.reorder(targets),
            Attack::Repeat => self.repeat(targets),
            Attack::Invent => self.every(PAUSE, targets, |way, target| {
                let invented = way.invented();
                way.deliver(target, invented);
            }),
            Attack::Flags => self.garbage(targets),
            Attack::Hide => self.watch(targets, |way, target| {
                way.hit(target.flags.compare_exchange(NOT_PRESENT, 0, SeqCst, SeqCst).is_ok());
            }),
            Attack::Empty => self.every(PAUSE, targets, Self::interrupt),
            Attack::Flood => self.flood(targets),
            Attack::Overrun => self.overrun(targets),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(SeqCst)
    }

    fn hit(&self, has_hit: bool) {
        self.hits.fetch_add(u64::from(has_hit), SeqCst);
    }

    /// Does `act` all the time.
    fn repeatedly(&mut self, mut act: impl FnMut(&mut Self)) {
        while !self.is_over() {
            act(self);
            spin_loop();
        }
    }

    /// Does `act` to each of `targets`, all the time.
    fn watch(&mut self, targets: &[Target], mut act: impl FnMut(&mut Self, &Target)) {
        self.repeatedly(|way| targets.iter().for_each(|target| act(way, target)));
    }

    fn every(&mut self, pause: Duration, targets: &[Target], mut act: impl FnMut(&mut Self, &Target)) {
        self.watch(targets, |way, target| {
            act(way, target);
            thread::sleep(pause);
        });
    }

    fn interrupt(&mut self, target: &Target) {
        target.interrupt();
        self.hit(true);
    }

    /// Takes the ready token out of the area, if there is one.
    fn take(&self, target: &Target) -> Option<u32> {
        let token = target.token.load(SeqCst);
        let is_one = token != 0 && token != WAKE_ALL;
        let taken = is_one && target.token.compare_exchange(token, 0, SeqCst, SeqCst).is_ok();
        self.hit(taken);
        taken.then_some(token)
    }

    /// Delivers `token` as soon as the area is empty.
    fn deliver(&self, target: &Target, token: u32) {
        while !self.is_over() {
            if put(target, token) {
                target.interrupt();
                return self.hit(true);
            }
            spin_loop();
        }
    }

    /// Makes up a token. KVM's have the virtual CPU's number in the lower 12 bits; no guest has so many.
    fn invented(&mut self) -> u32 {
        self.random.random_range(1..WAKE_ALL) | 0xfff
    }

    fn reorder(&mut self, targets: &[Target]) {
        let (mut held, mut since) = (Vec::new(), Instant::now());
        self.repeatedly(|way| {
            if held.is_empty() {
                since = Instant::now();
            }
            held.extend(targets.iter().filter_map(|target| Some((target, way.take(target)?))));
            if since.elapsed() > HELD {
                while let Some((target, token)) = held.pop() {
                    way.deliver(target, token);
                    // The guest takes it, or this thread would.
                    while target.token.load(SeqCst) == token && !way.is_over() {
                        spin_loop();
                    }
                }
            }
        });
    }

    fn repeat(&mut self, targets: &[Target]) {
        let mut last = 0;
        self.watch(targets, |way, target| {
            let token = target.token.load(SeqCst);
            if token != 0 && token != WAKE_ALL && token != last {
                last = token;
                thread::sleep(PAUSE);
                way.deliver(target, token);
            }
        });
    }

    /// Looks at the reason all the time, since the guest reads it soon; now and then it writes one where
    /// there is none.
    fn garbage(&mut self, targets: &[Target]) {
        const LOOKS: u32 = 1 << 16;
        let mut looks = 0_u32;
        let mut garbage = self.reason();
        self.watch(targets, |way, target| {
            looks = looks.wrapping_add(1);
            if target.flags.load(SeqCst) == NOT_PRESENT {
                way.hit(target.flags.compare_exchange(NOT_PRESENT, garbage, SeqCst, SeqCst).is_ok());
                garbage = way.reason();
            } else if looks % LOOKS < targets.len() as u32 {
                target.flags.store(garbage, SeqCst);
            }
        });
    }

    /// Makes up a reason that is none.
    fn reason(&mut self) -> u32 {
        self.random.random_range(3..=u32::MAX)
    }

    fn flood(&mut self, targets: &[Target]) {
        let mut next = Instant::now();
        self.repeatedly(|way| {
            if Instant::now() >= next {
                targets.iter().for_each(|target| way.interrupt(target));
                next = Instant::now() + FLOOD;
            }
        });
    }

    /// Delivers invented tokens for a [`TURN`], and nothing for the next. Without an end, interrupts that
    /// come faster than a slow guest can take them would be all that it does: that is every host's right,
    /// and says nothing about the guest.
    fn overrun(&mut self, targets: &[Target]) {
        let mut began = Instant::now();
        self.watch(targets, |way, target| {
            let invented = way.invented();
            way.deliver(target, invented);
            if began.elapsed() >= TURN {
                thread::sleep(TURN);
                began = Instant::now();
            }
        });
    }
}

/// Puts `token` into the area if that is empty.
fn put(target: &Target, token: u32) -> bool {
    target.token.compare_exchange(0, token, SeqCst, SeqCst).is_ok()
}
