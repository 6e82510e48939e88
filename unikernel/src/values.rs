//! Values of a key-value store, a page each, which say themselves whether they are right.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use apf_vocabulary::PAGE_BYTES;

use crate::region::{are_fingerprints, fingerprint, physical};

const WORDS: usize = PAGE_BYTES / 8;

/// A value: as many words as a page has, which follow from its key and its version.
#[repr(C, align(4096))]
#[derive(Clone, Debug)]
struct Value([u64; WORDS]);
const _: () = assert!(size_of::<Value>() == PAGE_BYTES);

/// Values in memory of their own; their index and their locks are elsewhere, and small.
#[derive(Debug)]
pub struct Values {
    /// By their keys in order, each with the version that was written last.
    index: BTreeMap<usize, RwLock<(u64, &'static mut Value)>>,
    physical: Vec<Range<u64>>,
}

impl Value {
    fn write(&mut self, key: usize, version: u64) {
        self.0
            .iter_mut()
            .enumerate()
            .for_each(|(index, word)| *word = fingerprint(version, key * WORDS + index));
    }

    fn is_right(&self, key: usize, version: u64) -> bool {
        are_fingerprints(&self.0, version, key * WORDS)
    }
}

impl Values {
    /// Makes the values of `count` keys, which are numbers from 0 on. Their memory is never freed.
    pub fn new(count: usize) -> Self {
        let memory = vec![Value([0; WORDS]); count].leak();
        for (key, value) in memory.iter_mut().enumerate() {
            value.write(key, 0);
        }
        let physical = physical(memory.iter().map(|value| &raw const value.0[0]));
        let index = memory.iter_mut().map(|value| RwLock::new((0, value))).enumerate().collect();
        Self { index, physical }
    }

    /// Returns the ranges of their memory in the guest's physical memory.
    pub fn physical(&self) -> Vec<Range<u64>> {
        self.physical.clone()
    }

    /// Reads the value of `key` and returns whether every byte of it is right.
    pub fn get(&self, key: usize) -> bool {
        self.index.get(&key).is_some_and(|value| is_right(key, value))
    }

    /// Gives `key` its next version.
    pub fn set(&self, key: usize) {
        let Some(value) = self.index.get(&key) else { return };
        let mut value = value.write().unwrap_or_else(PoisonError::into_inner);
        let (version, value) = &mut *value;
        *version += 1;
        value.write(key, *version);
    }

    /// Reads the values of the first `count` keys from `key` on, and returns whether all of them are right.
    pub fn scan(&self, key: usize, count: usize) -> bool {
        self.index.range(key..).take(count).all(|(&key, value)| is_right(key, value))
    }

    /// Returns the number of values that are wrong.
    pub fn wrong(&self) -> u64 {
        self.index.iter().filter(|&(&key, value)| !is_right(key, value)).count() as u64
    }
}

fn is_right(key: usize, value: &RwLock<(u64, &'static mut Value)>) -> bool {
    let value = value.read().unwrap_or_else(PoisonError::into_inner);
    value.1.is_right(key, value.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_right_in_its_latest_version_and_under_its_own_key_only() {
        let values = Values::new(8);
        assert!(values.get(3) && !values.get(8));
        let first = values.index[&3].read().unwrap().1.clone();
        values.set(3);
        assert!(values.get(3) && values.scan(0, 100) && values.wrong() == 0);
        *values.index[&3].write().unwrap().1 = first.clone();
        assert!(!values.get(3) && !values.scan(1, 3) && values.scan(4, 3), "an old version");
        assert!(first.is_right(3, 0) && !first.is_right(4, 0));
        assert_eq!(values.wrong(), 1);
    }
}
