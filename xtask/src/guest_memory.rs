//! How much memory a guest needs for its tasks.
//!
//! Hermit gives its heap nearly all memory; stacks come from the tenth that is left.

/// What the kernel and its page tables take.
const BESIDE_MIB: u32 = 24;
/// What a task's stacks take.
const TASK_MIB: f64 = 0.125;
/// Tasks of the service and of the program, with larger stacks.
const OTHER_TASKS: f64 = 12.0;
/// The share of the rest that the kernel keeps for stacks.
const SHARE: f64 = 0.1;

/// Tasks for which a guest of `memory_mib` has room.
pub fn room(memory_mib: u32) -> f64 {
    f64::from(memory_mib.saturating_sub(BESIDE_MIB)) * SHARE / TASK_MIB - OTHER_TASKS
}

/// The least memory with room for `tasks`, in MiB, a multiple of 64.
pub fn for_tasks(tasks: u16) -> u32 {
    let least = (f64::from(tasks) + OTHER_TASKS) * TASK_MIB / SHARE;
    (least.ceil() as u32 + BESIDE_MIB).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_enough_and_not_much_more() {
        for tasks in [1, 32, 64, 256, 1024] {
            let memory = for_tasks(tasks);
            assert!(room(memory) >= f64::from(tasks), "{tasks} tasks in {memory} MiB");
            assert!(room(memory - 64) < f64::from(tasks), "{tasks} tasks in less than {memory} MiB");
        }
    }
}
