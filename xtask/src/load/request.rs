//! Requests in the server's words, and the replies that are right for them.

use apf_load::Operation;
use bytes::Bytes;
use redis_protocol::resp2::types::{BytesFrame as Frame, Resp2Frame as _};

use super::value::{Values, name};
use super::versions::{Change, Versions};

/// Keys of a SCAN.
pub const SCANNED: usize = 100;

/// All keys, with the state of their values.
#[derive(Debug)]
pub struct Keys {
    values: Values,
    versions: Versions,
    number: usize,
}

/// A reply that is due.
#[derive(Debug)]
pub enum Due {
    /// Values of consecutive keys from the first on, none of an earlier version than its floor.
    Values { first: usize, floors: Vec<u32>, array: bool },
    /// That a change has been made.
    Done { key: usize, change: Change },
}

/// Result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply was right; so many keys had no value yet.
    Right { absent: u64 },
    /// The reply was wrong, as the text says.
    Wrong(String),
    /// The reply was this error.
    Refused(String),
    /// No reply came in time.
    Unanswered,
}

impl Keys {
    /// Starts with no value that is known.
    pub fn new(number: usize, values: Values) -> Self {
        Self { values, versions: Versions::new(number), number }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.number
    }

    /// Returns the words of a request that is sent now, and its reply.
    pub fn request(&mut self, operation: Operation) -> (Vec<Bytes>, Due) {
        let floors = |keys: std::ops::Range<usize>| keys.map(|key| self.versions.floor(key)).collect();
        match operation {
            Operation::Get(key) => {
                let due = Due::Values { first: key, floors: floors(key..key + 1), array: false };
                (vec![Bytes::from_static(b"GET"), name(key)], due)
            }
            Operation::Scan(first) => {
                let keys = first..(first + SCANNED).min(self.number);
                let due = Due::Values { first, floors: floors(keys.clone()), array: true };
                ([Bytes::from_static(b"MGET")].into_iter().chain(keys.map(name)).collect(), due)
            }
            Operation::Set(key) => {
                let change = self.versions.change(key);
                let value = self.values.value(key, change.version);
                (vec![Bytes::from_static(b"SET"), name(key), value], Due::Done { key, change })
            }
        }
    }

    /// Checks a reply that has come now.
    pub fn check(&mut self, due: Due, reply: Frame) -> Outcome {
        match (due, reply) {
            (_, Frame::Error(text)) => Outcome::Refused(text.to_string()),
            (Due::Done { key, change }, Frame::SimpleString(text)) if text == "OK" => {
                self.versions.done(key, change);
                Outcome::Right { absent: 0 }
            }
            (Due::Values { first, floors, array: true }, Frame::Array(values))
                if values.len() == floors.len() =>
            {
                self.all(first, &floors, &values)
            }
            (Due::Values { first, floors, array: false }, value @ (Frame::BulkString(_) | Frame::Null)) => {
                self.all(first, &floors, &[value])
            }
            (Due::Done { key, .. } | Due::Values { first: key, .. }, reply) => Outcome::Wrong(format!(
                "{}: the reply is {:?}, which is none to this request",
                text(key),
                reply.kind()
            )),
        }
    }

    fn all(&self, first: usize, floors: &[u32], values: &[Frame]) -> Outcome {
        let mut absent = 0;
        for (key, (&floor, value)) in (first..).zip(floors.iter().zip(values)) {
            let version = match value {
                Frame::Null => Some(0),
                Frame::BulkString(value) => self.values.version(key, value),
                _ => None,
            };
            let Some(version) = version else {
                return Outcome::Wrong(format!("{}: the value is not one of this key", text(key)));
            };
            let last = self.versions.last(key);
            if !(floor..=last).contains(&version) {
                let what =
                    if *value == Frame::Null { "no value".into() } else { format!("version {version}") };
                return Outcome::Wrong(format!(
                    "{}: {what} instead of versions {floor} to {last}",
                    text(key)
                ));
            }
            absent += u64::from(*value == Frame::Null);
        }
        Outcome::Right { absent }
    }
}

fn text(key: usize) -> String {
    String::from_utf8_lossy(&name(key)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values { load: 7, size: 64 };

    fn ok() -> Frame {
        Frame::SimpleString("OK".into())
    }

    fn value(key: usize, version: u32) -> Frame {
        Frame::BulkString(VALUES.value(key, version))
    }

    #[test]
    fn a_get_returns_the_value_that_was_set_last() {
        let mut keys = Keys::new(2, VALUES);
        let get = |keys: &mut Keys, reply| {
            let (words, due) = keys.request(Operation::Get(1));
            assert_eq!(words, [&b"GET"[..], b"load:000000000001"]);
            keys.check(due, reply)
        };
        assert_eq!(get(&mut keys, Frame::Null), Outcome::Right { absent: 1 });
        let (words, due) = keys.request(Operation::Set(1));
        assert_eq!((&words[0][..], &words[2]), (&b"SET"[..], &VALUES.value(1, 1)));
        assert_eq!(keys.check(due, ok()), Outcome::Right { absent: 0 });
        assert_eq!(get(&mut keys, value(1, 1)), Outcome::Right { absent: 0 });
        for (wrong, word) in [
            (Frame::Null, "no value instead of versions 1 to 1"),
            (value(1, 0), "version 0"),
            (value(1, 2), "version 2"),
            (value(0, 1), "not one of this key"),
            (ok(), "none to this request"),
            (Frame::Array(vec![value(1, 1)]), "none to this request"),
        ] {
            let outcome = get(&mut keys, wrong);
            assert!(matches!(&outcome, Outcome::Wrong(text) if text.contains(word)), "{outcome:?}");
        }
        let refused = Outcome::Refused("ERR no".into());
        assert_eq!(get(&mut keys, Frame::Error("ERR no".into())), refused);
    }

    #[test]
    fn a_scan_returns_the_values_of_consecutive_keys() {
        let mut keys = Keys::new(150, VALUES);
        for (first, number) in [(3, SCANNED), (148, 2)] {
            let (words, due) = keys.request(Operation::Scan(first));
            assert_eq!((words.len(), &words[0][..], &words[1]), (1 + number, &b"MGET"[..], &name(first)));
            let values = (first..first + number).map(|key| value(key, 0)).collect();
            assert_eq!(keys.check(due, Frame::Array(values)), Outcome::Right { absent: 0 });
        }
        let (_, due) = keys.request(Operation::Scan(148));
        assert!(matches!(keys.check(due, Frame::Array(vec![value(148, 0)])), Outcome::Wrong(_)));
    }
}
