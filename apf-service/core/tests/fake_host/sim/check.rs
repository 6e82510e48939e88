//! What must hold, after each step and in the end.

use apf_core::protocol::Token;

use super::core::{Core, Waiting};
use super::world::World;

type Checked = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl World {
    /// Nobody was released without a reason: by its own ready, delivered in its
    /// own life on its own core, or sent to another; or by what may release everyone there.
    pub fn check_step(&mut self) -> Checked {
        for core in &mut self.cores {
            let Core { vcpu, host, halting, scheduled, .. } = core;
            let delivered = |token| host.delivered.contains(token) || self.crossed.contains(token);
            for wait in halting.iter_mut().chain(scheduled) {
                let over = vcpu.slots.get(wait.ticket).is_ready(wait.ticket);
                ensure(over || !wait.released, || format!("{wait:?} was released, and waits again"))?;
                if over && !wait.released {
                    wait.released = true;
                    let reason = wait.excused || delivered(&wait.token);
                    ensure(reason, || format!("{wait:?} was released without a reason"))?;
                }
            }
            let in_use = core.halting.len() + core.scheduled.len();
            ensure(core.vcpu.slots.in_use() == in_use, || "slots and waits differ in number".into())?;
        }
        Ok(())
    }

    /// Lets everything that is owed arrive, and everyone run; then nobody may
    /// be left. A host that lies can leave waiters without their ready: those
    /// the watchdog frees, or if they halt, a wake-all.
    pub fn settle(mut self) -> Checked {
        self.deliver_everything()?;
        let deceived = self.cores.iter().any(|core| core.deceived);
        if !deceived {
            self.check_nobody_waits("the host has delivered everything")?;
            // A waiter released by wake-all is gone from the table as well.
            ensure(self.table.outstanding() == 0, || {
                format!("{} left in the table", self.table.outstanding())
            })?;
        } else {
            // Who halts on the first core keeps the service thread from running.
            for core in 0..self.cores.len() {
                if self.cores[core].host.is_armed() {
                    self.send(core, Token::WAKE_ALL);
                } else {
                    self.arm(core);
                }
            }
            self.deliver_everything()?;
            ensure(self.cores.iter().all(|c| c.halting.is_empty()), || "wake-all left one halting".into())?;
            self.check_counters()?;
            self.clock += 1000;
            self.watchdog(0);
            self.deliver_everything()?;
            self.check_nobody_waits("wake-all and watchdog")?;
        }
        self.check_counters()
    }

    fn deliver_everything(&mut self) -> Checked {
        // Each round ends something of what is owed, which is finite.
        for _ in 0..10_000 {
            let mut progress = false;
            for core in 0..self.cores.len() {
                self.inject_in_flight(core)?;
                while {
                    let core = &mut self.cores[core];
                    core.host.complete(0, &core.vcpu.area)
                } {
                    progress = true;
                }
                progress |= !self.cores[core].host.is_idle();
                let Core { host, vcpu, deceived, .. } = &mut self.cores[core];
                if *deceived {
                    host.relent(&vcpu.area);
                }
                self.interrupt(core, false)?;
                self.check_step()?;
                while self.resume(core, 0)? {
                    progress = true;
                }
            }
            let before = self.stats.events();
            self.service(usize::MAX)?;
            self.check_step()?;
            progress |= self.stats.events() > before;
            if !progress {
                return Ok(());
            }
            // A core that is off has nothing to deliver.
            for core in &mut self.cores {
                if !core.host.is_armed() {
                    core.host.disarm();
                }
            }
        }
        Err("it never comes to rest".into())
    }

    fn check_nobody_waits(&self, after: &str) -> Checked {
        let waiting =
            |core: &Core| -> Vec<Waiting> { core.halting.iter().chain(&core.scheduled).copied().collect() };
        for (id, core) in self.cores.iter().enumerate() {
            ensure(waiting(core).is_empty(), || format!("after {after}, core {id} has {:?}", waiting(core)))?;
            ensure(core.vcpu.slots.in_use() == 0, || format!("core {id} lost slots"))?;
        }
        Ok(())
    }

    /// Everything is counted, and once.
    fn check_counters(&self) -> Checked {
        let sum = |of: &dyn Fn(&Core) -> u64| self.cores.iter().map(of).sum::<u64>();
        for (id, Core { vcpu, resumes, scheduled, halting, .. }) in self.cores.iter().enumerate() {
            let s = &vcpu.stats;
            let begun = s.schedule_waits.get()
                + s.halt_waits.get()
                + s.early_ready.get()
                + s.overflow_retries.get()
                + s.impossible_token.get();
            ensure(s.not_present.get() == begun, || format!("core {id}: faults do not add up: {begun}"))?;
            let ended = resumes + (scheduled.len() + halting.len()) as u64;
            ensure(begun == ended, || format!("core {id}: {begun} faults, {ended} resumes"))?;
        }
        let s = &self.stats;
        let queued = sum(&|c| {
            let s = &c.vcpu.stats;
            let others = [&s.halt_released, &s.halt_released_elsewhere, &s.handed_off, &s.deferred_ready];
            s.ready.get() - others.iter().map(|counter| counter.get()).sum::<u64>()
        });
        let readies = s.matched.get() + s.remembered.get() + s.duplicate.get();
        ensure(readies <= queued && queued <= readies + s.stale.get(), || {
            format!("{queued} readies were queued, the service counts {readies} and {} stale", s.stale.get())
        })?;
        let wake_alls = sum(&|c| c.vcpu.stats.wake_all.get());
        let lossy = self.cores.iter().any(|core| core.flooded || core.vcpu.is_halting());
        ensure(lossy || wake_alls <= s.wake_all.get() + s.stale.get(), || {
            format!("{wake_alls} wake-alls, the service counts {}", s.wake_all.get())
        })?;
        let scheduled = sum(&|c| c.vcpu.stats.schedule_waits.get());
        let faults = s.parked.get()
            + s.displaced.get()
            + s.early.get()
            + s.no_room.get()
            + sum(&|c| c.vcpu.stats.over.get());
        ensure(faults <= scheduled && scheduled <= faults + s.stale.get(), || {
            format!("{scheduled} waits by schedule, the service counts {faults}")
        })?;
        let recorded = sum(&|c| {
            let count =
                |h: &apf_core::histogram::Histogram| h.nonempty().map(|(_, n)| u64::from(n)).sum::<u64>();
            count(&c.vcpu.stats.schedule.total) + count(&c.vcpu.stats.halt.total)
        });
        let waited = sum(&|c| c.vcpu.stats.schedule_waits.get() + c.vcpu.stats.halt_waits.get());
        let waiting = sum(&|c| (c.scheduled.len() + c.halting.len()) as u64);
        ensure(recorded + waiting == waited, || format!("{waited} waits, {recorded} in the histograms"))?;
        Ok(())
    }
}
