//! Versions of a key's value that a reply may have while several connections change it.
//!
//! The server carries out requests on different connections in any order, but none before it was
//! sent and none after it was answered. So a version is out of date for a GET if a later one was sent
//! after its answer, and answered before the GET was sent. What was there before is version 0.

/// A change of a key's value that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The new value's version.
    pub version: u32,
    /// All versions up to this one had been answered before it was sent.
    settled: u32,
}

/// A key's versions.
#[derive(Clone, Debug, Default)]
struct Key {
    sent: u32,
    /// The first version that is not out of date.
    floor: u32,
    under_way: Vec<u32>,
}

/// Versions of all keys.
#[derive(Debug)]
pub struct Versions(Vec<Key>);

impl Versions {
    /// Starts with version 0 of each key.
    pub fn new(keys: usize) -> Self {
        Self(vec![Key::default(); keys])
    }

    /// Returns the next version of `key`, which is about to be sent.
    pub fn change(&mut self, key: usize) -> Change {
        let key = &mut self.0[key];
        let settled = key.under_way.iter().min().map_or(key.sent, |first| first - 1);
        key.sent += 1;
        key.under_way.push(key.sent);
        Change { version: key.sent, settled }
    }

    /// Notes that a change of `key` has been answered.
    pub fn done(&mut self, key: usize, change: Change) {
        let key = &mut self.0[key];
        key.under_way.retain(|&version| version != change.version);
        key.floor = key.floor.max(change.settled + 1);
    }

    /// Returns the first version that a GET of `key` may return if it is sent now.
    pub fn floor(&self, key: usize) -> u32 {
        self.0[key].floor
    }

    /// Returns the last version of `key` that has been sent.
    pub fn last(&self, key: usize) -> u32 {
        self.0[key].sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_out_of_date_when_a_later_one_has_been_answered() {
        let mut versions = Versions::new(2);
        let first = versions.change(1);
        assert_eq!((versions.floor(1), versions.last(1)), (0, 1));
        versions.done(1, first);
        assert_eq!(versions.floor(1), 1, "version 0 has been replaced");
        let second = versions.change(1);
        assert_eq!((versions.floor(1), versions.last(1)), (1, 2), "either may be there");
        versions.done(1, second);
        assert_eq!((versions.floor(1), versions.floor(0)), (2, 0));
    }

    #[test]
    fn changes_under_way_together_may_come_in_any_order() {
        let mut versions = Versions::new(1);
        let [first, second] = [versions.change(0), versions.change(0)];
        versions.done(0, second);
        assert_eq!(versions.floor(0), 1, "the first may come after the second");
        // A third one, sent while the first is under way, does not make it old either.
        let third = versions.change(0);
        versions.done(0, third);
        assert_eq!(versions.floor(0), 1);
        versions.done(0, first);
        let fourth = versions.change(0);
        versions.done(0, fourth);
        assert_eq!(versions.floor(0), 4);
    }
}
