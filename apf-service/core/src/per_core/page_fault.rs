//! A #PF on one core: what it is, and how its context waits.
#![forbid(unsafe_code)]

use super::{Core, Machine, NEAR_LIMIT};
use crate::classify::{Context, Wait, Waits, must_halt};
use crate::outcome::{NotPresent, PageFault, Work};
use crate::protocol::{OUTSTANDING_PER_VCPU, Reason, Token};
use crate::remote_ready;
use crate::slot::NewWait;

impl Core {
    /// Handles a #PF. The caller has read CR2 before anything could fault.
    pub fn page_fault(&self, cr2: u64, context: Context, machine: &impl Machine) -> PageFault {
        // The token is the lower half; KVM leaves the upper one 0.
        let token = Token(cr2 as u32);
        if cr2 > u32::MAX.into() || !self.host.area.take_not_present() {
            let work = self.other_fault(cr2, context.rip, context.interrupts_enabled, machine);
            return work.map_or(PageFault::NotOurs, PageFault::Return);
        }
        if !context.interrupts_enabled {
            // Nothing could interrupt this context when the page is ready, so
            // it would wait forever. A correct host never injects here.
            return PageFault::BrokenHost(token);
        }
        let Some(wait) = self.wait(context, machine) else {
            self.retry_without_room(machine);
            return PageFault::Return(Work::Nothing);
        };
        match self.not_present(token, wait, context.rip, machine) {
            NotPresent::Wait(ticket, wait) => PageFault::Wait(ticket, wait),
            NotPresent::Retry => PageFault::Return(Work::Nothing),
        }
    }

    /// Handles a #PF that is no not-present of KVM's; `None` if it is not ours. It returns less than
    /// a [`PageFault`], which would be packed into a register on the hot path as well.
    #[cold]
    #[inline(never)]
    fn other_fault(
        &self,
        cr2: u64,
        rip: u64,
        interrupts_enabled: bool,
        machine: &impl Machine,
    ) -> Option<Work> {
        let token = u32::try_from(cr2).ok().map(Token);
        match (self.host.area.take_reason(), token) {
            (Reason::LegacyReady, Some(token)) => return Some(self.take_ready(token, machine)),
            (Reason::Ordinary, _) => {}
            _ => self.stats.unknown_reason.count(),
        }
        self.unexplained(token, rip, interrupts_enabled)
    }

    /// Handles a #PF that has no reason, or an unknown one. It is the program's own fault, or the
    /// host has lost or damaged the reason of a not-present. So an access whose address could
    /// be a token is tried once more: for a page that is under way, the host now stops the core
    /// until it is there. The program's own fault comes again, and is the kernel's.
    fn unexplained(&self, token: Option<Token>, rip: u64, interrupts_enabled: bool) -> Option<Work> {
        let token = token.filter(|token| token.names_a_fault() && interrupts_enabled)?;
        if self.own.is_last_unexplained(rip, token) {
            return None;
        }
        self.stats.unexplained_retries.count();
        Some(Work::Nothing)
    }

    /// Chooses how an interrupted context waits; `None` if its stack has no room for a wait, so
    /// that it is to retry its access: the host then stops the core until the page is there.
    fn wait(&self, context: Context, machine: &impl Machine) -> Option<Wait> {
        if self.own.waits() == Waits::Halt {
            return Some(Wait::Halt);
        }
        let (mut is_alone, mut has_room) = (false, true);
        let task = || {
            let task = machine.task();
            (is_alone, has_room) = (task.is_alone, task.has_room(context.rsp));
            task
        };
        let reason = must_halt(context, &machine.kernel_text(), task);
        has_room.then(|| {
            if let Some(reason) = reason {
                self.stats.halted(reason);
                Wait::Halt
            } else if self.own.prefers_halt(is_alone) {
                self.stats.halt_cheaper.count();
                Wait::HaltFirst
            } else {
                Wait::Schedule
            }
        })
    }

    /// Counts a not-present whose context has no room to wait.
    #[cold]
    #[inline(never)]
    fn retry_without_room(&self, machine: &impl Machine) {
        self.stats.not_present.count();
        self.count_outstanding(machine);
        self.stats.no_room_retries.count();
    }

    /// Handles a not-present for `token`: enters token and waiter into the table.
    ///
    /// Schedule and halt share this path. A wait by schedule that finds no slot becomes a
    /// halt, and a halt that finds none retries, which is always safe.
    pub fn not_present(&self, token: Token, wait: Wait, rip: u64, machine: &impl Machine) -> NotPresent {
        let now = machine.now();
        self.stats.not_present.count();
        if !token.names_a_fault() {
            self.stats.impossible_token.count();
            return NotPresent::Retry;
        }
        self.count_outstanding(machine);
        if self.shared.early.take(token, self.own.generation(), machine.early()) {
            self.stats.early_ready.count();
            return NotPresent::Retry;
        }
        if let Some((older, wait)) = self.slots.displace(token, now) {
            self.stats.displaced.count();
            if wait == Wait::Schedule {
                machine.wake(older);
            }
        }
        let take = |wait| Some((self.slots.take(NewWait { token, wait, fault: now, rip })?, wait));
        let taken = take(wait).or_else(|| {
            let taken = (wait == Wait::Schedule).then(|| take(Wait::Halt)).flatten();
            self.stats.overflow_halts.add(u64::from(taken.is_some()));
            taken
        });
        let Some((ticket, wait)) = taken else {
            self.stats.overflow_retries.count();
            return NotPresent::Retry;
        };
        self.stats.most_waiting.raise(self.slots.in_use() as u64);
        let others = self.others(machine).map(|other| &other.shared.early);
        if remote_ready::take_early(others, token, machine.early()) {
            self.slots.finish(ticket);
            self.stats.early_ready.count();
            return NotPresent::Retry;
        }
        match wait {
            Wait::Schedule => {
                self.stats.schedule_waits.count();
                self.start_schedule_wait(now);
            }
            Wait::Halt | Wait::HaltFirst => self.stats.halt_waits.count(),
        }
        NotPresent::Wait(ticket, wait)
    }

    #[inline]
    fn count_outstanding(&self, machine: &impl Machine) {
        let outstanding = self.own.add_outstanding().into();
        if self.stats.most_outstanding.raise(outstanding) && outstanding >= NEAR_LIMIT {
            // The service thread logs a warning.
            machine.call_service();
        }
        if outstanding == OUTSTANDING_PER_VCPU as u64 {
            self.stats.budget_spent.count();
        }
    }
}
