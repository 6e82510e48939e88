//! Single faults: their stages in order, and the number outstanding over time.

use crate::document::Fault;

/// A fault's points in time, in the order in which they are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The #PF was delivered.
    pub fault: u64,
    parked: u64,
    ready: u64,
    released: u64,
    /// Running again.
    pub running: u64,
}

impl Life {
    /// Puts a fault's times in order. A waiter that slept only after its ready event counts as parked
    /// until then; a ready event ahead of its fault leaves the host no time at all.
    pub fn of(fault: &Fault) -> Self {
        let running = fault.running.max(fault.fault);
        let ready = fault.ready.clamp(fault.fault, running);
        let parked = fault.parked.clamp(fault.fault, ready);
        let released = fault.released.clamp(ready, running);
        Self { fault: fault.fault, parked, ready, released, running }
    }

    /// Name, begin and end of each stage.
    pub const fn stages(&self) -> [(&'static str, u64, u64); 4] {
        [
            ("fault→parked", self.fault, self.parked),
            ("parked→ready", self.parked, self.ready),
            ("ready→released", self.ready, self.released),
            ("released→running", self.released, self.running),
        ]
    }
}

/// The number of faults that the host had not answered, at each time when it changed.
pub fn outstanding(faults: &[Fault]) -> Vec<(u64, u32)> {
    let mut changes: Vec<(u64, i32)> =
        faults.iter().map(Life::of).flat_map(|life| [(life.fault, 1), (life.ready, -1)]).collect();
    // Ends come before starts of the same moment; a fault of no length is not seen.
    changes.sort_unstable();
    let mut count = 0;
    let mut steps: Vec<(u64, u32)> = Vec::new();
    for (time, change) in changes {
        count += change;
        let step = (time, u32::try_from(count).unwrap_or(0));
        match steps.last_mut() {
            Some(last) if last.0 == time => *last = step,
            _ => steps.push(step),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(fault: u64, ready: u64, running: u64) -> Fault {
        Fault {
            core: 0,
            token: 0,
            rip: 0,
            halt: false,
            fault,
            parked: fault + 1,
            ready,
            released: ready + 1,
            running,
        }
    }

    #[test]
    fn stages_follow_each_other_whatever_came_first() {
        for (ready, running) in [(50, 60), (5, 60), (0, 60), (70, 60)] {
            let life = Life::of(&fault(10, ready, running));
            let stages = life.stages();
            assert_eq!((stages[0].1, stages[3].2), (10, 60));
            assert!(stages.windows(2).all(|pair| pair[0].2 == pair[1].1), "{stages:?}");
            assert!(stages.iter().all(|(_, from, to)| from <= to), "{stages:?}");
        }
    }

    #[test]
    fn outstanding_goes_up_with_a_fault_and_down_with_its_ready() {
        let steps = outstanding(&[fault(10, 50, 60), fault(20, 50, 80), fault(50, 70, 90)]);
        assert_eq!(steps, [(10, 1), (20, 2), (50, 1), (70, 0)]);
        // Whenever its waiter slept.
        let late = Fault { parked: 55, ..fault(10, 50, 60) };
        assert_eq!(outstanding(&[late]), [(10, 1), (50, 0)]);
        assert_eq!(Life::of(&late).stages()[0], ("fault→parked", 10, 50));
    }
}
