//! The memory that a guest needs for its tasks and for the region that it fills.
//!
//! Hermit reserves nine tenths of its memory for the heap (`mm::init` in its source); stacks come
//! from the rest.

/// Memory of the kernel and its page tables.
const BESIDE_MIB: u32 = 24;
/// Memory of one task's stacks.
const TASK_MIB: f64 = 0.125;
/// Tasks of the service and of the program itself, counted by their larger stacks.
const OTHER_TASKS: f64 = 12.0;
/// Share of the remaining memory that the kernel keeps for stacks.
const SHARE: f64 = 0.1;
/// Heap of the program and the kernel besides the region.
const OTHER_HEAP_MIB: f64 = 8.0;

/// Returns the number of tasks for which a guest of `memory_mib` has room.
pub fn room(memory_mib: u32) -> f64 {
    f64::from(memory_mib.saturating_sub(BESIDE_MIB)) * SHARE / TASK_MIB - OTHER_TASKS
}

/// Returns the least memory for a region and so many tasks, in MiB, a multiple of 16.
pub fn least(region_mib: u32, tasks: f64) -> u32 {
    let stacks = (tasks + OTHER_TASKS) * TASK_MIB / SHARE;
    let heap = (f64::from(region_mib) + OTHER_HEAP_MIB) / (1.0 - SHARE);
    (stacks.max(heap).ceil() as u32 + BESIDE_MIB).next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_has_room_for_the_tasks_and_16_mib_less_has_not() {
        for tasks in [1.0, 32.0, 64.0, 256.0, 1024.0] {
            let memory = least(0, tasks);
            assert!(room(memory) >= tasks, "{tasks} tasks in {memory} MiB");
            assert!(room(memory - 16) < tasks, "{tasks} tasks in less than {memory} MiB");
        }
    }

    /// The heap as the kernel computes it.
    #[test]
    fn the_heap_has_room_for_the_region() {
        for region in [1, 8, 64, 400, 800, 1600, 1800] {
            let memory = least(region, 1.0);
            let tables = memory / 512 + 1;
            let available = (memory - 2 - 4 - tables - 2) / 2 * 2;
            let heap = available * 9 / 10 / 2 * 2;
            assert!(heap >= region + 8, "a heap of {heap} MiB in {memory} MiB for {region} MiB");
        }
        assert_eq!(least(400, 32.0), 480);
    }
}
