//! Faults of a task whose own stack is evicted as well, and on a stack that is not the task's.

use std::hint::black_box;
use std::ops::Range;
use std::thread;

use apf_core::classify::WAIT_ROOM;
use apf_vocabulary::Counters;

use super::bench::{Bench, Verdict, demand};
use super::stack::{RED_ZONE, read_with};
use super::tasks::spawn_with_stack;
use crate::host;

/// Words of a large array on the task's stack.
const WORDS: usize = 8192;
/// The stack pointer of the access: the array's middle, on a page that has not been touched
/// since the eviction.
const MIDDLE: usize = WORDS / 2;
const STACK: usize = 256 * 1024;
/// Bytes that a wait may need below the stack pointer, as the README of `apf-service` promises.
const WAIT: usize = 1024;
/// Bytes that are too few for a wait and a fault inside it.
const TOO_FEW: usize = WAIT_ROOM as usize / 2;
/// Pages that stacks end with.
const PAGE: usize = 4096;

/// Checks a fault on an evicted stack. The handler's entry on the interrupted stack touches
/// an absent page with interrupts off, and the wait runs on that stack. The task's data
/// there must be unchanged, red zone included; below it, the wait has written.
pub fn check(bench: &Bench) -> Verdict {
    let (word, damaged, depth, counts) = thread::scope(|scope| {
        spawn_with_stack(scope, STACK, || on_this_stack(bench)).join().expect("the task does not panic")
    });
    demand(word, || "the page has wrong data".into())?;
    demand(counts.schedule_waits > 0, || "the fault did not wait by schedule".into())?;
    demand(damaged == 0, || format!("{damaged} words of the stack were changed"))?;
    demand(depth > 0, || "the wait did not use that stack".into())?;
    demand(depth <= WAIT, || format!("the wait needed {depth} bytes of the stack, more than {WAIT}"))?;
    Ok(format!(
        "{} schedule wait(s), {depth} bytes of the evicted stack needed, none damaged",
        counts.schedule_waits
    ))
}

fn on_this_stack(bench: &Bench) -> (bool, usize, usize, Counters) {
    let mut array = [0_u64; WORDS];
    array.iter_mut().zip(1..).for_each(|(word, n)| *word = pattern(n));
    let stack = black_box(array.as_mut_ptr()).wrapping_add(MIDDLE);
    host::evict();
    let (address, right) = bench.word();
    let before = host::counters();
    // SAFETY: a word of the region. The stack pointer is in the middle of an array on this
    // task's stack.
    let word = unsafe { read_with(stack.cast(), address) };
    let counts = host::counters().since(&before);
    let array = black_box(&array);
    let changed = |words: Range<usize>| words.filter(|&i| array[i] != pattern(i as u64 + 1));
    let untouched = MIDDLE - RED_ZONE / 8;
    let damaged = changed(untouched..WORDS).count();
    let depth = changed(0..untouched).next().map_or(0, |lowest| (MIDDLE - lowest) * 8);
    (word == right, damaged, depth, counts)
}

/// Checks that application code on a stack that is not its task's waits by halt: the service
/// cannot know whose stack it is.
pub fn foreign(bench: &Bench) -> Verdict {
    let mut stack = vec![0_u64; WORDS];
    let top = black_box(stack.as_mut_ptr()).wrapping_add(MIDDLE);
    host::evict();
    let (right, counts) = bench.warm(|| {
        let (address, right) = bench.word();
        let before = host::counters();
        // SAFETY: a word of the region; half of `stack` is below the stack pointer.
        let word = unsafe { read_with(top.cast(), address) };
        (word == right, host::counters().since(&before))
    });
    demand(right, || "the page has wrong data".into())?;
    demand(counts.schedule_waits == 0, || "the fault waited by schedule".into())?;
    demand(counts.halt_waits > 0, || "the fault did not wait".into())?;
    Ok(format!("{} halt wait(s)", counts.halt_waits))
}

/// Checks a fault whose stack has too little room for a wait: it does not wait there, and the task
/// continues once its page is in.
pub fn end_of_stack(bench: &Bench) -> Verdict {
    bench.evict(None);
    let (right, counts) = thread::scope(|scope| {
        let task = spawn_with_stack(scope, STACK, || {
            // The stack starts at its upper end, which is the end of a page.
            let here = 0_u8;
            let top = (black_box(&raw const here).addr() + 1).next_multiple_of(PAGE);
            let stack = black_box(&raw const here).with_addr(top - STACK + TOO_FEW).cast_mut();
            let (address, right) = bench.word();
            let before = host::counters();
            // SAFETY: a word of the region. The stack pointer is in this task's stack, and what is
            // below it is enough for an interrupt, which has a stack of its own.
            let word = unsafe { read_with(stack, address) };
            (word == right, host::counters().since(&before))
        });
        task.join().expect("the task does not panic")
    });
    demand(right, || "the page has wrong data".into())?;
    demand(counts.no_room_retries == 1, || format!("{} retries for want of room", counts.no_room_retries))?;
    demand(counts.schedule_waits + counts.halt_waits == 0, || "the fault waited on that stack".into())?;
    Ok(format!("{TOO_FEW} bytes are too few for a wait: retried at once"))
}

const fn pattern(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
