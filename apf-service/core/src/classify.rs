//! Classification of interrupted contexts: wait by schedule or by halt.
#![forbid(unsafe_code)]

use core::ops::Range;

/// The ways to wait for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The task blocks on its futex; others run.
    Schedule,
    /// The core halts until the page is there; only interrupts run.
    Halt,
    /// The core halts because that is cheaper, though the context could be scheduled:
    /// past a limit the wait goes on by schedule.
    HaltFirst,
}

/// Reason why a context must keep its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltReason {
    /// Kernel code: it may hold any of the kernel's locks.
    KernelText,
    /// The idle task, which must never block.
    Idle,
    /// A `NonPreemptible` guard. The service thread
    /// holds one while it runs.
    Guard,
    /// A stack that is not the running task's own.
    ForeignStack,
}

/// The kinds of wait that a program wants. Crosses into the kernel archive as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Waits {
    /// Schedule where that is safe, else halt; but halt also where a wait by
    /// schedule would only cost time ([`Policy`](crate::policy::Policy)).
    #[default]
    Auto = 0,
    /// Always halt. No other task runs while a page comes in; for comparisons.
    Halt = 1,
    /// Schedule wherever that is safe.
    ByContext = 2,
}

impl Waits {
    /// Returns the kind with this number; the default for an unknown number.
    #[must_use]
    pub const fn decode(number: u32) -> Self {
        match number {
            n if n == Self::Halt as u32 => Self::Halt,
            n if n == Self::ByContext as u32 => Self::ByContext,
            _ => Self::Auto,
        }
    }
}

/// The interrupted context, as the processor saved it.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Instruction that touched the page.
    pub rip: u64,
    /// Stack pointer at that instruction.
    pub rsp: u64,
    /// True if interrupts were enabled (RFLAGS.IF).
    pub interrupts_enabled: bool,
}

/// The running task, as the scheduler knows it.
#[derive(Clone, Debug)]
pub struct Task {
    /// The task's own stack, where applications run.
    pub user_stack: Range<u64>,
    /// Number of `NonPreemptible` guards that it holds.
    pub critical_depth: u32,
    /// True for the core's idle task, which must never block.
    pub is_idle: bool,
    /// True if no other task is ready to run on its core.
    pub is_alone: bool,
}

/// Bytes below the interrupted stack pointer without which a fault does not wait: those of the wait, at
/// most 1 KiB with the red zone, and as many for a fault inside it.
pub const WAIT_ROOM: u64 = 2048;

impl Task {
    /// Returns false if a wait at stack pointer `rsp` would leave this task's stack at its lower end.
    /// Of another stack the end is not known.
    #[inline]
    #[must_use]
    pub fn has_room(&self, rsp: u64) -> bool {
        // Below the stack this wraps to a large number.
        rsp.wrapping_sub(self.user_stack.start) >= WAIT_ROOM
    }
}

/// Returns the reason why a context must halt; `None` if it may wait by schedule, which
/// the policy then decides. Only application code on its own task's stack with preemption
/// enabled may.
///
/// `task` is called only when the instruction lies outside `kernel_text`: kernel code may be
/// interrupted while it changes the structures that `task` reads.
pub fn must_halt(
    context: Context,
    kernel_text: &Range<u64>,
    task: impl FnOnce() -> Task,
) -> Option<HaltReason> {
    if kernel_text.contains(&context.rip) {
        return Some(HaltReason::KernelText);
    }
    let task = task();
    if task.is_idle {
        Some(HaltReason::Idle)
    } else if task.critical_depth > 0 {
        Some(HaltReason::Guard)
    } else if !task.user_stack.contains(&context.rsp) {
        Some(HaltReason::ForeignStack)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Range<u64> = 0x1000..0x2000;

    fn app() -> Task {
        Task { user_stack: 0x8000..0x9000, critical_depth: 0, is_idle: false, is_alone: false }
    }

    fn at(rip: u64, rsp: u64) -> Context {
        Context { rip, rsp, interrupts_enabled: true }
    }

    #[test]
    fn application_code_on_its_own_stack_schedules() {
        assert_eq!(must_halt(at(0x5000, 0x8800), &TEXT, app), None);
    }

    #[test]
    fn kernel_text_halts_without_asking_the_scheduler() {
        for rip in [0x1000, 0x1fff] {
            let reason = must_halt(at(rip, 0x8800), &TEXT, || unreachable!());
            assert_eq!(reason, Some(HaltReason::KernelText));
        }
    }

    #[test]
    fn the_end_of_the_tasks_own_stack_has_no_room_for_a_wait() {
        for (rsp, has_room) in [
            (0x8000, false),
            (0x8000 + WAIT_ROOM - 1, false),
            (0x8000 + WAIT_ROOM, true),
            (0x8fff, true),
            (0x7fff, true),
            (0x9000, true),
        ] {
            assert_eq!(app().has_room(rsp), has_room, "{rsp:#x}");
        }
    }

    #[test]
    fn guard_idle_and_foreign_stack_halt() {
        let guarded = || Task { critical_depth: 2, ..app() };
        let idle = || Task { is_idle: true, ..app() };
        assert_eq!(must_halt(at(0x5000, 0x8800), &TEXT, guarded), Some(HaltReason::Guard));
        assert_eq!(must_halt(at(0x5000, 0x8800), &TEXT, idle), Some(HaltReason::Idle));
        for rsp in [0x9000, 0x7fff] {
            assert_eq!(must_halt(at(0x5000, rsp), &TEXT, app), Some(HaltReason::ForeignStack));
        }
    }
}
