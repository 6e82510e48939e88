//! Meaning of one request: a [command](https://redis.io/docs/latest/commands/) of Redis.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame as Frame;

use crate::store::Store;

/// Result of a request.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The connection goes on.
    Reply(Frame),
    /// This was its last reply.
    Close(Frame),
    /// The program ends, without a reply.
    Shutdown,
}

/// Carries out `request`.
pub fn run(request: Frame, store: &Store) -> Outcome {
    let Some(words) = words(request) else {
        return Outcome::Close(error("ERR Protocol error: a request is an array of bulk strings"));
    };
    let Some((name, arguments)) = words.split_first() else {
        return Outcome::Reply(error("ERR an empty request"));
    };
    let reply = match (&*name.to_ascii_uppercase(), arguments) {
        (b"PING", []) => Frame::SimpleString(Bytes::from_static(b"PONG")),
        (b"PING" | b"ECHO", [text]) => Frame::BulkString(text.clone()),
        (b"GET", [key]) => value(store.get(key)),
        (b"SET", [key, value]) => {
            store.set(key, value);
            ok()
        }
        (b"MGET", [_, ..]) => Frame::Array(arguments.iter().map(|key| value(store.get(key))).collect()),
        (b"MSET", [_, _, ..]) if arguments.len() % 2 == 0 => {
            arguments.chunks_exact(2).for_each(|pair| store.set(&pair[0], &pair[1]));
            ok()
        }
        (b"INCR", [key]) => match store.increment(key) {
            Some(sum) => Frame::Integer(sum),
            None => error("ERR value is not an integer or out of range"),
        },
        (b"DEL", [_, ..]) => number(arguments.iter().filter(|key| store.remove(key)).count()),
        (b"EXISTS", [_, ..]) => number(arguments.iter().filter(|key| store.get(key).is_some()).count()),
        (b"DBSIZE", []) => number(store.len()),
        (b"FLUSHALL" | b"FLUSHDB", _) => {
            store.clear();
            ok()
        }
        (b"SELECT", [_]) => ok(),
        // Clients ask for these first, and do without them.
        (b"COMMAND" | b"CONFIG", _) => Frame::Array(vec![]),
        (b"QUIT", _) => return Outcome::Close(ok()),
        (b"SHUTDOWN", _) => return Outcome::Shutdown,
        _ => error(&format!("ERR unknown command '{}', or not these arguments", name.escape_ascii())),
    };
    Outcome::Reply(reply)
}

/// Returns the words of a request, if it is one.
fn words(request: Frame) -> Option<Vec<Bytes>> {
    let Frame::Array(words) = request else { return None };
    let word = |word| match word {
        Frame::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    words.into_iter().map(word).collect()
}

fn ok() -> Frame {
    Frame::SimpleString(Bytes::from_static(b"OK"))
}

fn error(text: &str) -> Frame {
    Frame::Error(text.into())
}

fn value(found: Option<Bytes>) -> Frame {
    found.map_or(Frame::Null, Frame::BulkString)
}

fn number(count: usize) -> Frame {
    Frame::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(store: &Store, request: &str) -> Outcome {
        let word = |word: &str| Frame::BulkString(Bytes::copy_from_slice(word.as_bytes()));
        run(Frame::Array(request.split(' ').map(word).collect()), store)
    }

    fn reply(store: &Store, request: &str) -> Frame {
        match ask(store, request) {
            Outcome::Reply(frame) => frame,
            other => panic!("{request}: {other:?}"),
        }
    }

    fn bulk(text: &'static str) -> Frame {
        Frame::BulkString(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_key_has_the_value_that_it_was_given_last() {
        let store = Store::default();
        assert_eq!(reply(&store, "GET k"), Frame::Null);
        assert_eq!(reply(&store, "set k 1"), ok());
        assert_eq!(reply(&store, "SET k 2"), ok());
        assert_eq!(reply(&store, "MSET a x b y"), ok());
        assert_eq!(reply(&store, "MGET k a z"), Frame::Array(vec![bulk("2"), bulk("x"), Frame::Null]));
        assert_eq!(reply(&store, "DBSIZE"), Frame::Integer(3));
        assert_eq!(reply(&store, "DEL k a z"), Frame::Integer(2));
        assert_eq!(reply(&store, "EXISTS k b"), Frame::Integer(1));
        assert_eq!(reply(&store, "FLUSHALL"), ok());
        assert_eq!(reply(&store, "GET b"), Frame::Null);
    }

    #[test]
    fn a_number_is_counted_up_and_nothing_else() {
        let store = Store::default();
        assert_eq!(reply(&store, "INCR n"), Frame::Integer(1));
        assert_eq!(reply(&store, "INCR n"), Frame::Integer(2));
        for value in ["x", "9223372036854775807"] {
            store.set(b"k", value.as_bytes());
            assert!(matches!(reply(&store, "INCR k"), Frame::Error(_)), "{value}");
            assert_eq!(reply(&store, "GET k"), bulk(value));
        }
    }

    #[test]
    fn a_request_that_is_none_gets_an_error() {
        let store = Store::default();
        for request in ["NONSENSE", "GET", "GET a b", "SET k", "MSET a", "MSET a x b"] {
            assert!(matches!(reply(&store, request), Frame::Error(_)), "{request}");
        }
        assert!(matches!(run(Frame::Array(vec![]), &store), Outcome::Reply(Frame::Error(_))));
        for no_request in [Frame::Integer(1), Frame::Array(vec![Frame::Null])] {
            assert!(matches!(run(no_request, &store), Outcome::Close(Frame::Error(_))));
        }
        assert_eq!(ask(&store, "SHUTDOWN NOSAVE"), Outcome::Shutdown);
    }
}
