//! Points in time, as the processor's time-stamp counter gives them. Durations are in its
//! cycles; in microseconds if their name ends in `_us`.
#![forbid(unsafe_code)]

/// A value of the time-stamp counter, in cycles since the core's reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Tsc(pub u64);

impl Tsc {
    /// Cycles from `earlier` to `self`; 0 if the counters of two cores disagree
    /// so much that the order is reversed.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time `cycles` later, at most the last one that there is.
    #[must_use]
    pub const fn after(self, cycles: u64) -> Self {
        Self(self.0.saturating_add(cycles))
    }
}
