//! Invariants, after each step and in the end.

use apf_core::histogram::Histogram;
use apf_core::protocol::Token;

use super::guest::{Guest, Waiting};
use super::world::{Tally, World};

type Checked = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl World {
    /// Checks that nobody was released without a reason: by its own ready, delivered in its
    /// own generation on its own core, or sent to another; or by what may release everyone there.
    pub fn check_step(&mut self) -> Checked {
        for guest in &mut self.guests {
            let Guest { core, host, halting, scheduled, .. } = guest;
            let delivered = |token| host.borrow().delivered.contains(token) || self.crossed.contains(token);
            for wait in halting.iter_mut().chain(scheduled.iter_mut()) {
                let over = core.slots.get(wait.ticket).is_ready(wait.ticket);
                ensure(over || !wait.released, || format!("{wait:?} was released, and waits again"))?;
                if over && !wait.released {
                    wait.released = true;
                    let reason = wait.excused || delivered(&wait.token);
                    ensure(reason, || format!("{wait:?} was released without a reason"))?;
                }
            }
            let in_use = halting.len() + scheduled.len();
            ensure(core.slots.in_use() == in_use, || "slots and waits differ in number".into())?;
            let undone = core.has_events() && !self.called.get();
            ensure(!undone, || "an event waits, and the service thread was not called".into())?;
            guest.stalled.check(&guest.core.stats, self.clock)?;
        }
        let early: usize = self.guests.iter().map(|guest| guest.core.early()).sum();
        ensure(early == self.early.get() as usize, || {
            format!("{early} early ready tokens, counted as {}", self.early.get())
        })
    }

    /// Lets everything that is owed arrive, and everyone run; then nobody may
    /// be left. A host that lies can leave waiters without their ready: those
    /// the watchdog frees, or if they halt, their limit or a wake-all.
    pub fn settle(mut self) -> Result<Tally, String> {
        self.deliver_everything()?;
        let deceived = self.guests.iter().any(|guest| guest.deceived);
        if !deceived {
            self.check_nobody_waits("the host has delivered everything")?;
        } else {
            // A context that halts on the first core keeps the service thread from running.
            // A fault in flight waits only in the second round.
            for _ in 0..2 {
                for core in 0..self.guests.len() {
                    if !self.rules.wakes_all {
                        while self.halt_limit(core)? {
                            self.check_step()?;
                            self.resume(core, 0)?;
                        }
                    } else if self.guests[core].host.borrow().is_armed() {
                        self.send(core, Token::WAKE_ALL);
                    } else {
                        self.arm(core);
                        self.check_step()?;
                    }
                }
                self.deliver_everything()?;
            }
            ensure(self.guests.iter().all(|g| g.halting.is_empty()), || {
                "wake-all or its limit left one halting".into()
            })?;
            self.check_counters()?;
            self.advance(1000);
            self.retry_all(0);
            self.deliver_everything()?;
            self.check_nobody_waits("wake-all or limits, and watchdog")?;
        }
        self.check_counters()?;
        Ok(self.tally)
    }

    fn deliver_everything(&mut self) -> Checked {
        // Each round ends something of what is owed, which is finite.
        for _ in 0..10_000 {
            let mut progress = false;
            for core in 0..self.guests.len() {
                self.inject_in_flight(core)?;
                let guest = &self.guests[core];
                while guest.host(|host, area| host.complete(0, area)) {
                    progress = true;
                }
                progress |= !guest.host.borrow().is_idle();
                if guest.deceived {
                    guest.host(|host, area| host.relent(area));
                }
                self.interrupt(core, false)?;
                self.check_step()?;
                while self.resume(core, 0)? {
                    progress = true;
                }
            }
            progress |=
                self.guests.iter().any(|guest| guest.core.has_events()) && !self.guests[0].core.is_halting();
            self.service(usize::MAX)?;
            self.check_step()?;
            if !progress {
                return Ok(());
            }
            // A core that is off has nothing to deliver.
            for guest in &self.guests {
                let mut host = guest.host.borrow_mut();
                if !host.is_armed() {
                    host.disarm();
                }
            }
        }
        Err("it never comes to rest".into())
    }

    fn check_nobody_waits(&self, after: &str) -> Checked {
        for (id, guest) in self.guests.iter().enumerate() {
            let waiting: Vec<&Waiting> = guest.waits().collect();
            ensure(waiting.is_empty(), || format!("after {after}, core {id} has {waiting:?}"))?;
            ensure(guest.core.slots.in_use() == 0, || format!("core {id} lost slots"))?;
        }
        Ok(())
    }

    /// Everything is counted, and once.
    fn check_counters(&self) -> Checked {
        let sum = |of: &dyn Fn(&Guest) -> u64| self.guests.iter().map(of).sum::<u64>();
        for (id, Guest { core, resumes, scheduled, halting, .. }) in self.guests.iter().enumerate() {
            let s = &core.stats;
            let begun = s.schedule_waits.get()
                + s.halt_waits.get()
                + s.early_ready.get()
                + s.overflow_retries.get()
                + s.no_room_retries.get()
                + s.impossible_token.get();
            ensure(s.not_present.get() == begun, || format!("core {id}: faults do not add up: {begun}"))?;
            let ended = resumes + (scheduled.len() + halting.len()) as u64;
            ensure(begun == ended, || format!("core {id}: {begun} faults, {ended} resumes"))?;
        }
        let queued = sum(&|g| {
            let s = &g.core.stats;
            let others = [&s.halt_released, &s.halt_released_elsewhere, &s.handed_off, &s.deferred_ready];
            s.ready.get() - others.iter().map(|counter| counter.get()).sum::<u64>()
        });
        let served = self.stats.matched.get() + self.stats.unmatched.get();
        let pending = self.guests.iter().any(|guest| guest.core.has_events());
        ensure(queued == served || pending && queued > served, || {
            format!("{queued} ready tokens were queued, the service counts {served}")
        })?;
        let count = |h: &Histogram| h.nonempty().map(|(_, n)| u64::from(n)).sum::<u64>();
        let recorded = sum(&|g| count(&g.core.stats.schedule.total) + count(&g.core.stats.halt.total));
        let waited = sum(&|g| g.core.stats.schedule_waits.get() + g.core.stats.halt_waits.get());
        let waiting = sum(&|g| g.waits().count() as u64);
        ensure(recorded + waiting == waited, || format!("{waited} waits, {recorded} in the histograms"))
    }
}
