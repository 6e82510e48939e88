//! Finished faults, recorded one by one for the program.
#![forbid(unsafe_code)]

use crossbeam_queue::ArrayQueue;

use crate::event::CoreId;
use crate::protocol::Token;
use crate::time::Tsc;

/// Stages of one finished fault. Program and archive share the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fault {
    /// The core it happened on.
    pub core: CoreId,
    /// True if it waited by halt.
    pub halt: bool,
    /// The host's name for it.
    pub token: Token,
    /// The instruction that touched the page.
    pub rip: u64,
    /// #PF delivered.
    pub fault: Tsc,
    /// About to block or halt.
    pub parked: Tsc,
    /// Ready interrupt.
    pub ready: Tsc,
    /// Wait word set.
    pub released: Tsc,
    /// Running again.
    pub running: Tsc,
}

impl Fault {
    /// A value for a buffer's initial contents.
    pub const NONE: Self = Self {
        core: CoreId(0),
        halt: false,
        token: Token::NONE,
        rip: 0,
        fault: Tsc(0),
        parked: Tsc(0),
        ready: Tsc(0),
        released: Tsc(0),
        running: Tsc(0),
    };
}

/// The faults of one core, until the program takes them. Memory is allocated once; a
/// fault that finds it full is not recorded, so that the first ones stay: they
/// are those that the program looks for after it has emptied it.
#[derive(Debug)]
pub struct Recorder {
    faults: ArrayQueue<Fault>,
}

impl Recorder {
    /// Room for `capacity` faults, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { faults: ArrayQueue::new(capacity.max(1)) }
    }

    /// Returns the number of faults there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.faults.capacity()
    }

    /// Records a fault; takes a bounded number of steps and no memory.
    pub fn keep(&self, fault: Fault) {
        let _ = self.faults.push(fault);
    }

    /// Takes the oldest fault.
    pub fn take(&self) -> Option<Fault> {
        self.faults.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_faults_stay_until_they_are_taken() {
        let recorder = Recorder::new(2);
        for rip in 1..=3 {
            recorder.keep(Fault { rip, ..Fault::NONE });
        }
        let rips: alloc::vec::Vec<u64> =
            core::iter::from_fn(|| recorder.take()).map(|fault| fault.rip).collect();
        assert_eq!((rips, recorder.capacity()), (alloc::vec![1, 2], 2));
        recorder.keep(Fault { rip: 4, ..Fault::NONE });
        assert_eq!(recorder.take().map(|fault| fault.rip), Some(4));
    }
}
