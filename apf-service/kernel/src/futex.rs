//! Sleeping on a word, and waking its [`Sleeper`].

use core::num::NonZeroU64;
use core::sync::atomic::AtomicU32;

use crate::hooks;
use crate::processor::without_interrupts;
use apf_core::sleeper::{Announced, Sleeper};

/// Blocks the running task while `*word == expected`, at most for `limit_us`
/// microseconds. It may return spuriously: the caller checks again. Task
/// context with interrupts on.
pub fn wait(sleeper: &Sleeper, word: &AtomicU32, expected: u32, limit_us: Option<u64>) {
    // SAFETY: hooks in task context, with interrupts off as they demand.
    let is_blocked = without_interrupts(|| unsafe {
        let Some(task) = NonZeroU64::new(hooks::apf_hook_handle()) else { return false };
        match sleeper.announce(task, word, expected) {
            Announced::Block => hooks::apf_hook_block(limit_us),
            Announced::BlockUntilWoken => hooks::apf_hook_block(None),
            Announced::GoOn => return false,
        }
        true
    });
    if is_blocked {
        // SAFETY: a hook in task context.
        unsafe { hooks::apf_hook_reschedule() };
        // If its time was up, no waker needs to wake it any more.
        sleeper.take();
    }
}

/// Wakes the task that sleeps on a word that the caller has just changed; `false` if none
/// does. Callable with interrupts off.
pub fn wake(sleeper: &Sleeper) -> bool {
    let task = sleeper.take();
    if let Some(task) = task {
        // SAFETY: a hook that may be called with interrupts off, with a handle of its own making.
        unsafe { hooks::apf_hook_wake(task.get()) };
    }
    task.is_some()
}
