//! One distribution of durations.

use std::collections::BTreeMap;

use apf_core::histogram;
use apf_core::stats::{CoreStats, StageHistograms};
use serde::{Deserialize, Serialize};

/// Distribution of durations, raw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Name of the durations: `schedule total`, `halt host`, `request`.
    pub name: String,
    /// Number of units in a microsecond: the time-stamp counter's MHz, or 1000 for nanoseconds.
    pub per_us: f64,
    /// Smallest value and count of each bucket that is not empty, in ascending order.
    pub buckets: Vec<(u64, u64)>,
}

impl Histogram {
    /// Sums up recorded histograms of the same thing.
    pub fn sum<'a>(
        name: &str,
        per_us: f64,
        recorded: impl IntoIterator<Item = &'a histogram::Histogram>,
    ) -> Self {
        let mut buckets = BTreeMap::new();
        for (low, count) in recorded.into_iter().flat_map(histogram::Histogram::nonempty) {
            *buckets.entry(low).or_default() += u64::from(count);
        }
        Self { name: name.into(), per_us, buckets: buckets.into_iter().collect() }
    }

    /// Returns the histograms of all stages of both kinds of wait, each summed over `cores`:
    /// `schedule fault→parked`, …
    pub fn stages(cores: &[&CoreStats], per_us: f64) -> Vec<Self> {
        type Stage = fn(&StageHistograms) -> &histogram::Histogram;
        type Wait = fn(&CoreStats) -> &StageHistograms;
        let stages: [(&str, Stage); 5] = [
            ("fault→parked", |h| &h.fault_to_parked),
            ("host", |h| &h.host),
            ("ready→service", |h| &h.ready_to_service),
            ("ready→running", |h| &h.ready_to_running),
            ("total", |h| &h.total),
        ];
        let waits: [(&str, Wait); 2] = [("schedule", |s| &s.schedule), ("halt", |s| &s.halt)];
        let each = waits.iter().flat_map(|wait| stages.iter().map(move |stage| (wait, stage)));
        each.map(|((wait, of_wait), (stage, of_stage))| {
            let recorded = cores.iter().map(|core| of_stage(of_wait(core)));
            Self::sum(&format!("{wait} {stage}"), per_us, recorded)
        })
        .collect()
    }

    /// Returns the durations recorded since `earlier`, a histogram of the same name.
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
    use apf_core::classify::Wait;
    use apf_core::slot::Stages;
    use apf_core::time::Tsc;

    #[test]
    fn a_histogram_since_an_earlier_one_has_only_what_is_new() {
        let of = |buckets: &[(u64, u64)]| Histogram {
            name: "halt total".into(),
            per_us: 1.0,
            buckets: buckets.to_vec(),
        };
        let since = of(&[(1, 5), (2, 7), (9, 1)]).since(&of(&[(1, 5), (2, 3)]));
        assert_eq!(since, of(&[(2, 4), (9, 1)]));
    }

    #[test]
    fn stages_are_summed_over_cores() {
        let cores: [Box<CoreStats>; 2] = Default::default();
        let stages = Stages { fault: Tsc(10), parked: Tsc(12), ready: Tsc(20), released: Tsc(23) };
        cores.iter().for_each(|core| core.finished(Wait::Halt, stages, Tsc(25)));
        let all = Histogram::stages(&cores.each_ref().map(|core| &**core), 1.0);
        let names: Vec<_> = all.iter().map(|histogram| histogram.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[6]), (10, "schedule fault→parked", "halt host"));
        assert_eq!((&all[0].buckets[..], &all[6].buckets[..]), (&[][..], &[(10, 2)][..]));
    }
}
