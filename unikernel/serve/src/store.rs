//! Keys and values.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

/// Parts of the store. A task that waits for a page of one part keeps writers out of that
/// part only.
const PARTS: usize = 64;

type Part = RwLock<HashMap<Bytes, Bytes>>;

/// All keys with their values, in parts by a key's hash.
#[derive(Debug)]
pub struct Store {
    parts: [Part; PARTS],
    hasher: RandomState,
}

impl Default for Store {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Part::default()), hasher: RandomState::new() }
    }
}

impl Store {
    fn part(&self, key: &[u8]) -> &Part {
        &self.parts[self.hasher.hash_one(key) as usize % PARTS]
    }

    fn read(&self, key: &[u8]) -> RwLockReadGuard<'_, HashMap<Bytes, Bytes>> {
        self.part(key).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &[u8]) -> RwLockWriteGuard<'_, HashMap<Bytes, Bytes>> {
        self.part(key).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.read(key).get(key).cloned()
    }

    /// Gives `key` a value. Key and value are copied, since those of a request are parts of its
    /// whole buffer.
    pub fn set(&self, key: &[u8], value: &[u8]) {
        let value = Bytes::copy_from_slice(value);
        let mut part = self.write(key);
        match part.get_mut(key) {
            Some(old) => *old = value,
            None => drop(part.insert(Bytes::copy_from_slice(key), value)),
        }
    }

    /// Adds one to the number that `key` has as its value, or 0 if it has none, and returns the sum;
    /// `None` if the value is no number, or the sum is too large.
    pub fn increment(&self, key: &[u8]) -> Option<i64> {
        let mut part = self.write(key);
        let number = match part.get(key) {
            Some(value) => std::str::from_utf8(value).ok()?.parse().ok()?,
            None => 0_i64,
        };
        let sum = number.checked_add(1)?;
        part.insert(Bytes::copy_from_slice(key), sum.to_string().into());
        Some(sum)
    }

    /// Removes `key` and returns whether it was there.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.write(key).remove(key).is_some()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Removes everything.
    pub fn clear(&self) {
        for part in &self.parts {
            part.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}
