//! The guest memory that a number of tasks needs.
//!
//! Hermit reserves nine tenths of its memory for the heap; stacks come from the rest.

/// Memory of the kernel and its page tables.
const BESIDE_MIB: u32 = 24;
/// Memory of one task's stacks.
const TASK_MIB: f64 = 0.125;
/// Tasks of the service and of the program itself, counted by their larger stacks.
const OTHER_TASKS: f64 = 12.0;
/// Share of the remaining memory that the kernel keeps for stacks.
const SHARE: f64 = 0.1;

/// Returns the number of tasks for which a guest of `memory_mib` has room.
pub fn room(memory_mib: u32) -> f64 {
    f64::from(memory_mib.saturating_sub(BESIDE_MIB)) * SHARE / TASK_MIB - OTHER_TASKS
}

/// Returns the least memory with room for `tasks`, in MiB, a multiple of 64.
pub fn for_tasks(tasks: u16) -> u32 {
    let least = (f64::from(tasks) + OTHER_TASKS) * TASK_MIB / SHARE;
    (least.ceil() as u32 + BESIDE_MIB).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_has_room_for_the_tasks_and_64_mib_less_has_not() {
        for tasks in [1, 32, 64, 256, 1024] {
            let memory = for_tasks(tasks);
            assert!(room(memory) >= f64::from(tasks), "{tasks} tasks in {memory} MiB");
            assert!(room(memory - 64) < f64::from(tasks), "{tasks} tasks in less than {memory} MiB");
        }
    }
}
