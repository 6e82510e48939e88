//! A connection to the server: requests out, replies in, without waiting for either.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use nix::poll::PollFlags;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame as Frame;

/// Time limit of connecting.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const READ: usize = 20 << 10;

/// A connection to the server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    requests: BytesMut,
    replies: BytesMut,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The server does not accept in time.
    pub fn open(server: SocketAddr) -> Result<Self> {
        let open = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&server, CONNECT)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = open().with_context(|| format!("cannot connect to {server}"))?;
        Ok(Self { stream, requests: BytesMut::new(), replies: BytesMut::new() })
    }

    /// Sends a request: its words, as far as there is room now.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, words: Vec<Bytes>) -> Result<()> {
        let request = Frame::Array(words.into_iter().map(Frame::BulkString).collect());
        extend_encode(&mut self.requests, &request, false).context("a request cannot be encoded")?;
        self.write()
    }

    /// Returns the events after which it can go on.
    pub fn awaits(&self) -> PollFlags {
        let room = if self.requests.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        PollFlags::POLLIN | room
    }

    /// Returns the socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Sends what has not been sent, and receives; returns a reply if one has come completely.
    ///
    /// # Errors
    /// The connection is broken, or what came is not of the protocol.
    pub fn go_on(&mut self) -> Result<Option<Frame>> {
        self.write()?;
        self.read()?;
        let reply = decode_bytes_mut(&mut self.replies);
        let reply = reply.context("the server's reply is not of Redis' protocol (RESP2)")?;
        Ok(reply.map(|(frame, _, _)| frame))
    }

    fn write(&mut self) -> Result<()> {
        while !self.requests.is_empty() {
            match self.stream.write(&self.requests) {
                Ok(written) => self.requests.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a request cannot be sent"),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        loop {
            let old = self.replies.len();
            self.replies.resize(old + READ, 0);
            let read = self.stream.read(&mut self.replies[old..]);
            self.replies.truncate(old + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(READ) => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a reply cannot be received"),
            }
        }
    }
}
