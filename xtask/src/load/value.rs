//! Keys and values that show by themselves to whom they belong.
//!
//! A value starts with four words: the load that wrote it, its key, its version and its size. All
//! other bytes follow from these, so that a value of another key, of another version or with any
//! byte changed is noticed.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Bytes of the words at the start.
const HEAD: usize = 32;

/// Returns the name of a key.
pub fn name(key: usize) -> Bytes {
    format!("load:{key:012}").into()
}

/// Values of one load.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// Number of this load, unlike that of any other.
    pub load: u64,
    /// Size of each value in bytes, at least that of its head.
    pub size: usize,
}

impl Values {
    /// Returns the value of a key in a version.
    pub fn value(&self, key: usize, version: u32) -> Bytes {
        contents([self.load, key as u64, version.into(), self.size as u64]).into()
    }

    /// Returns the version of `key` that `value` is: 0 for one that an earlier load wrote; `None` if a
    /// byte is wrong.
    pub fn version(&self, key: usize, value: &[u8]) -> Option<u32> {
        let words = value.get(..HEAD)?.chunks_exact(8);
        let mut words = words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        let [load, of, version, size] = std::array::from_fn(|_| words.next().expect("four words"));
        let right =
            of == key as u64 && size == value.len() as u64 && contents([load, of, version, size]) == value;
        right.then_some(if load == self.load { u32::try_from(version).ok()? } else { 0 })
    }
}

/// Returns all bytes of the value with these words at its start.
fn contents(head: [u64; 4]) -> Vec<u8> {
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    let seed = head.iter().fold(0, |seed: u64, word| (seed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bytes.resize(usize::try_from(head[3]).expect("a size of this machine").max(HEAD), 0);
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes[HEAD..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values { load: 7, size: 100 };

    #[test]
    fn a_value_is_of_its_key_and_version_in_every_byte() {
        let value = VALUES.value(3, 5);
        assert_eq!((value.len(), VALUES.version(3, &value)), (100, Some(5)));
        assert_eq!(VALUES.version(4, &value), None, "another key's");
        for byte in 0..value.len() {
            let mut damaged = value.to_vec();
            damaged[byte] ^= 1;
            assert_eq!(VALUES.version(3, &damaged), None, "byte {byte}");
        }
        for length in 0..value.len() {
            assert_eq!(VALUES.version(3, &value[..length]), None, "{length} bytes of it");
        }
    }

    #[test]
    fn a_value_of_an_earlier_load_is_version_0() {
        let earlier = Values { load: 6, size: 64 };
        assert_eq!(VALUES.version(3, &earlier.value(3, 9)), Some(0));
        assert_eq!(VALUES.version(3, b"another program's"), None);
    }
}
