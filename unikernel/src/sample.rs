//! What an experiment measures at one point.

use std::collections::BTreeMap;

use apf_service::Histogram;
use serde::{Deserialize, Serialize};

use crate::grid::Point;
use crate::wire::{Counters, Mode};

/// One repetition at one point in one mode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// How faults waited.
    pub mode: Mode,
    /// Where.
    pub point: Point,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// What was measured, units in the names.
    pub metrics: BTreeMap<String, f64>,
    /// Pages read whose content was not what had been written.
    pub wrong_pages: u64,
    /// What the service counted meanwhile; high-water marks since the program began.
    pub counters: Counters,
    /// Distributions of this sample alone.
    pub histograms: Vec<Distribution>,
    /// The first faults, one by one, where they were recorded.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// One fault, in cycles of the time-stamp counter since the sample began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FaultRow", into = "FaultRow")]
#[expect(missing_docs, reason = "see `apf_service::Fault`")]
pub struct Fault {
    pub core: u16,
    pub token: u32,
    pub rip: u64,
    pub halt: bool,
    pub fault: u64,
    pub parked: u64,
    pub ready: u64,
    pub released: u64,
    pub running: u64,
}

/// As it travels: there are thousands.
type FaultRow = (u16, u32, u64, bool, [u64; 5]);

impl From<FaultRow> for Fault {
    fn from((core, token, rip, halt, [fault, parked, ready, released, running]): FaultRow) -> Self {
        Self { core, token, rip, halt, fault, parked, ready, released, running }
    }
}

impl From<Fault> for FaultRow {
    fn from(f: Fault) -> Self {
        (f.core, f.token, f.rip, f.halt, [f.fault, f.parked, f.ready, f.released, f.running])
    }
}

/// A distribution of durations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Of what: `schedule total`, `request`.
    pub name: String,
    /// How many of the unit make a microsecond.
    pub per_us: f64,
    /// Smallest value of each bucket that is not empty, and count, in ascending order.
    pub buckets: Vec<(u64, u64)>,
}

impl Distribution {
    /// Of what was recorded, `per_us` to a microsecond.
    #[must_use]
    pub fn of(name: &str, per_us: f64, recorded: &Histogram) -> Self {
        let buckets = recorded.nonempty().map(|(low, count)| (low, count.into())).collect();
        Self { name: name.into(), per_us, buckets }
    }

    /// What was recorded since `earlier`, which is of the same thing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before: BTreeMap<u64, u64> = earlier.buckets.iter().copied().collect();
        let before = |low: &u64| before.get(low).copied().unwrap_or(0);
        let buckets = self.buckets.iter().map(|(low, count)| (*low, count - before(low)));
        Self { buckets: buckets.filter(|&(_, count)| count > 0).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    #[test]
    fn what_was_there_before_is_taken_off() {
        let of = |buckets: &[(u64, u64)]| Distribution {
            name: "halt total".into(),
            per_us: 1.0,
            buckets: buckets.to_vec(),
        };
        let since = of(&[(1, 5), (2, 7), (9, 1)]).since(&of(&[(1, 5), (2, 3)]));
        assert_eq!(since, of(&[(2, 4), (9, 1)]));
    }

    #[test]
    fn a_sample_survives_its_message() {
        let fault = Fault::from((1, 2, 3, true, [4, 5, 6, 7, 8]));
        let sample = Sample {
            mode: Mode::Halt,
            point: Point::from([("tasks".into(), 4.0)]),
            repetition: 1,
            metrics: BTreeMap::from([("ms_per_page".into(), 0.25)]),
            wrong_pages: 0,
            counters: Counters { not_present: 3, ..Counters::default() },
            histograms: vec![Distribution { name: "x".into(), per_us: 2.0, buckets: vec![(8064, 1)] }],
            faults: vec![fault],
        };
        let text = serde_json::to_string(&Message::Sample(Box::new(sample))).unwrap();
        let Ok(Message::Sample(back)) = serde_json::from_str(&text) else { panic!("{text}") };
        assert_eq!((back.point["tasks"], back.counters.not_present), (4.0, 3));
        assert_eq!(back.histograms[0].buckets, [(8064, 1)]);
        assert_eq!(back.faults, [fault]);
    }
}
