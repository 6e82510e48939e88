//! When a core is stalled: *some* while a context of it waits for a page, *full* while, besides,
//! no task of it can run, as the core idles or halts.
//!
//! ```text
//!   waits by schedule    0 → 1 → 2 ────────────→ 1 → 0
//!   halts                            ├───────┤
//!   no task can run              ├─────────────┤
//!
//!   scheduled            ├───────────┤       ├───────┤     some = scheduled + halting
//!   idle                         ├───┤       ├─┤           full = idle + halting
//!   halting                          ├───────┤
//! ```
//!
//! A wait by schedule lasts until its task runs again, as in Linux, where a task that waits for a
//! page is delayed until it has been scheduled (`folio_wait_bit_common` in `mm/filemap.c` then
//! calls `psi_memstall_leave`). A halt is full, as in Linux the time is in which a core reclaims
//! memory: no task could use the core, ready or not (`psi_group_change` in `kernel/sched/psi.c`).
//!
//! Each edge comes with interrupts off on its core, with a time that was read since they are.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use super::Core;
use crate::time::Tsc;

impl Core {
    /// Notes that a context starts to wait by schedule, or goes on so.
    #[inline]
    pub fn start_schedule_wait(&self, now: Tsc) {
        let scheduled = &self.stats.stall.scheduled;
        if !scheduled.is_under_way() {
            scheduled.begin(now);
        }
    }

    /// Notes that a wait by schedule is over whose slot has just been freed.
    #[inline]
    pub(super) fn end_schedule_wait(&self, now: Tsc) {
        if self.slots.in_use() == 0 {
            self.stats.stall.scheduled.end(now);
        }
    }

    /// Notes that a context starts to halt for its page: until it [stops](Self::stop_halting), nothing
    /// but interrupts runs on this core.
    #[inline]
    pub fn start_halting(&self, now: Tsc) {
        let stall = &self.stats.stall;
        if !self.is_halting() {
            if stall.scheduled.is_under_way() {
                self.interrupt_waits(now);
            }
            stall.halting.begin(now);
        }
        self.own.start_halting();
    }

    /// Notes that the innermost halting context continues. Its slot is not free yet.
    #[inline]
    pub fn stop_halting(&self, now: Tsc) {
        self.own.stop_halting();
        if !self.is_halting() {
            self.stats.stall.halting.end(now);
            // Nobody else waits any more if the others have resumed between this fault and its halt.
            if self.slots.in_use() > 1 {
                self.continue_waits(now);
            }
        }
    }

    /// Lets a halt take the place of waits by schedule.
    #[cold]
    fn interrupt_waits(&self, now: Tsc) {
        let stall = &self.stats.stall;
        stall.scheduled.end(now);
        if stall.idle.is_under_way() {
            stall.idle.end(now);
        }
    }

    /// Reverses it.
    #[cold]
    fn continue_waits(&self, now: Tsc) {
        let stall = &self.stats.stall;
        stall.scheduled.begin(now);
        if !self.has_work() {
            stall.idle.begin(now);
        }
    }

    /// Notes whether the scheduler, which is about to choose a task, has one that can run.
    #[inline]
    pub fn note_work(&self, has_work: bool, now: impl FnOnce() -> Tsc) {
        if has_work == self.has_work() {
            return;
        }
        self.shared.has_work.store(has_work, Relaxed);
        let stall = &self.stats.stall;
        if has_work {
            if stall.idle.is_under_way() {
                stall.idle.end(now());
            }
        } else if stall.scheduled.is_under_way() {
            stall.idle.begin(now());
        }
    }

    /// Returns whether a task could run when the scheduler last looked. To be asked on any core.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.shared.has_work.load(Relaxed)
    }

    /// Starts a new generation, on what may be another host with another time.
    pub(super) fn start_generation(&self, now: Tsc) {
        self.own.begin(now);
        self.stats.stall.restart(now);
    }
}
