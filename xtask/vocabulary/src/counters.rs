//! Counters of the service, from one list.

use std::collections::BTreeMap;

use apf_core::for_each_counter;
use apf_core::stats::CoreStats;
use serde::{Deserialize, Serialize};

/// Makes [`Counters`] from the service's list.
macro_rules! counters {
    ($($(#[$doc:meta])* $kind:ident $name:ident;)*) => {
        /// Counters of the service since the program started.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Sums up the counters of `cores`.
            pub fn sum<'a>(cores: impl IntoIterator<Item = &'a CoreStats>) -> Self {
                let mut all = Self::default();
                for core in cores {
                    $(all.$name += core.$name.get();)*
                }
                all
            }

            /// Returns the counts since `earlier`; high-water marks stay as they are.
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($name: since!($kind, self.$name, earlier.$name),)* }
            }

            /// Returns the counters by name.
            pub fn to_counts(&self) -> BTreeMap<String, u64> {
                [$((stringify!($name).to_owned(), self.$name)),*].into()
            }

            /// Reads the counters from counts by name; a missing one is 0.
            pub fn from_counts(counts: &BTreeMap<String, u64>) -> Self {
                Self { $($name: counts.get(stringify!($name)).copied().unwrap_or(0),)* }
            }

            /// Returns true if `name` is a high-water mark. It covers the whole run and says nothing
            /// about one sample.
            pub fn is_mark(name: &str) -> bool {
                let kinds = [$((stringify!($name), stringify!($kind))),*];
                kinds.contains(&(name, "most"))
            }
        }
    };
}

macro_rules! since {
    (sum, $now:expr, $earlier:expr) => {
        $now - $earlier
    };
    (most, $now:expr, $earlier:expr) => {
        $now
    };
}

for_each_counter!(counters);

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
        assert_eq!((counts["not_present"], counts["most_waiting"]), (3, 2));
        assert!(Counters::is_mark("most_waiting") && !Counters::is_mark("not_present"));
        assert_eq!(Counters::from_counts(&counts), counters);
    }
}
