//! Counts of the service, by one list.

use std::collections::BTreeMap;

use apf_service::stats::CoreStats;
use serde::{Deserialize, Serialize};

/// Makes [`Counters`] from a list of names: first sums, then high-water marks.
macro_rules! counters {
    (sums: $($sum:ident),*; marks: $($mark:ident),*;) => {
        /// The service's counters since the program began; see `apf_service::stats::CoreStats`.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "documented where they are counted")]
        pub struct Counters {
            $(pub $sum: u64,)*
            $(pub $mark: u64,)*
        }

        impl Counters {
            /// Names of the high-water marks. They are of the whole run and say nothing of one sample.
            pub const MARKS: &[&str] = &[$(stringify!($mark)),*];

            /// Sums up the counters of `cores`.
            #[must_use]
            pub fn sum<'a>(cores: impl IntoIterator<Item = &'a CoreStats>) -> Self {
                let mut all = Self::default();
                for core in cores {
                    $(all.$sum += core.$sum.get();)*
                    $(all.$mark += core.$mark.get();)*
                }
                all
            }

            /// Returns what was counted since `earlier`; high-water marks as they are now.
            #[must_use]
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($sum: self.$sum - earlier.$sum,)* $($mark: self.$mark,)* }
            }

            /// Returns the counters by name.
            #[must_use]
            pub fn to_counts(&self) -> BTreeMap<String, u64> {
                let all = [$((stringify!($sum), self.$sum),)* $((stringify!($mark), self.$mark),)*];
                all.map(|(name, count)| (name.to_owned(), count)).into()
            }

            /// Reads the counters from counts by name; what is not there is 0.
            #[must_use]
            pub fn from_counts(counts: &BTreeMap<String, u64>) -> Self {
                let of = |name| counts.get(name).copied().unwrap_or(0);
                Self { $($sum: of(stringify!($sum)),)* $($mark: of(stringify!($mark)),)* }
            }
        }
    };
}

counters! {
    sums:
        not_present, ready, wake_all, spurious_interrupts, schedule_waits, halt_waits, early_ready,
        overflow_halts, overflow_retries, deferred_ready, unknown_reason, budget_spent,
        halt_kernel_text, halt_idle, halt_guard, halt_foreign_stack, halt_cheaper;
    marks: most_waiting, most_outstanding;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_cores_and_marks_are_not_subtracted() {
        let cores: [Box<CoreStats>; 2] = Default::default();
        let now = || Counters::sum(cores.iter().map(|core| &**core));
        cores[0].ready.add(2);
        cores[0].most_waiting.raise(5);
        let before = now();
        cores[1].ready.add(3);
        let counters = now().since(&before);
        assert_eq!((counters.ready, counters.most_waiting, now().ready), (3, 5, 5));
    }

    #[test]
    fn counters_survive_being_counts_by_name() {
        let counters = Counters { not_present: 3, most_waiting: 2, ..Counters::default() };
        let counts = counters.to_counts();
        assert_eq!((counts["not_present"], counts[Counters::MARKS[0]]), (3, 2));
        assert_eq!(Counters::from_counts(&counts), counters);
    }
}
