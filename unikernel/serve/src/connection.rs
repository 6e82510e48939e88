//! One client's requests and their replies.

use std::io::{self, Read, Write};

use bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;

use crate::command::{self, Outcome};
use crate::store::Store;

/// Bytes read at a time: a request with a value of 16 KiB mostly comes in one piece.
const READ: usize = 20 << 10;

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client has no more requests.
    Closed,
    /// The client wants the program to end.
    Shutdown,
}

/// Answers the requests from `stream`, each in its turn, and closes it.
///
/// # Errors
/// The connection breaks, or its bytes are not of the protocol.
pub fn serve(mut stream: impl Read + Write, store: &Store) -> io::Result<End> {
    let (mut requests, mut replies) = (BytesMut::new(), BytesMut::new());
    loop {
        let old = requests.len();
        requests.resize(old + READ, 0);
        let read = stream.read(&mut requests[old..])?;
        requests.truncate(old + read);
        if read == 0 {
            return Ok(End::Closed);
        }
        // All complete requests are answered by one write: a client may send several at once.
        let mut open = true;
        while open {
            let Some((request, _, _)) = decode_bytes_mut(&mut requests).map_err(io::Error::other)? else {
                break;
            };
            let reply = match command::run(request, store) {
                Outcome::Reply(reply) => reply,
                Outcome::Close(reply) => {
                    open = false;
                    reply
                }
                Outcome::Shutdown => return Ok(End::Shutdown),
            };
            extend_encode(&mut replies, &reply, false).map_err(io::Error::other)?;
        }
        stream.write_all(&replies)?;
        replies.clear();
        if !open {
            return Ok(End::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that sends its bytes in pieces of `step`.
    struct Client<'a> {
        sends: &'a [u8],
        step: usize,
        gets: Vec<u8>,
        writes: usize,
    }

    impl Read for Client<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (piece, rest) = self.sends.split_at(self.step.min(self.sends.len()));
            self.sends = rest;
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    impl Write for Client<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += usize::from(!bytes.is_empty());
            self.gets.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn talk(sends: &[u8], step: usize) -> (io::Result<End>, String, usize) {
        let mut client = Client { sends, step, gets: vec![], writes: 0 };
        let ended = serve(&mut client, &Store::default());
        (ended, String::from_utf8(client.gets).unwrap(), client.writes)
    }

    #[test]
    fn requests_are_answered_in_order_however_they_are_cut() {
        let sends = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nQUIT\r\n\
                      *1\r\n$4\r\nPING\r\n";
        for step in 1..=sends.len() {
            let (ended, gets, writes) = talk(sends, step);
            assert_eq!(ended.unwrap(), End::Closed);
            assert_eq!(gets, "+OK\r\n$5\r\na\r\nbc\r\n+OK\r\n", "pieces of {step}");
            assert!(writes <= 3);
        }
        assert_eq!(talk(sends, sends.len()).2, 1, "one write for requests that come together");
    }

    #[test]
    fn a_client_can_end_the_program() {
        let (ended, gets, _) = talk(b"*1\r\n$8\r\nSHUTDOWN\r\n*1\r\n$4\r\nPING\r\n", 100);
        assert_eq!((ended.unwrap(), gets.as_str()), (End::Shutdown, ""));
    }

    #[test]
    fn another_protocol_ends_the_connection() {
        assert!(talk(b"GET / HTTP/1.1\r\n\r\n", 100).0.is_err());
    }
}
