//! Points of an experiment, as keys.

use std::ops::RangeInclusive;

/// A parameter's value as a key: documents hold no NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value(pub f64);

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // -0 and 0 are one place.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

/// A picture, and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The panel parameter's value, if there are panels.
    pub panel: Option<Value>,
    /// The variable's.
    pub x: Value,
}

impl Point {
    /// All points of a panel.
    pub const fn all_of(panel: Option<Value>) -> RangeInclusive<Self> {
        Self { panel, x: Value(f64::NEG_INFINITY) }..=Self { panel, x: Value(f64::INFINITY) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_zeros_are_one_place() {
        assert_eq!(Value(0.0).cmp(&Value(-0.0)), std::cmp::Ordering::Equal);
    }
}
