//! A server for tests: it answers as it should, or in a manner that is wrong.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame as Frame;

/// The way in which it answers. Numbers are those of requests of a kind, from 0 on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Time before each reply, of each connection for itself.
    pub pause: Duration,
    /// It does nothing from one time after the first request until another.
    pub stop: Option<(Duration, Duration)>,
    /// From this SET on it forgets each second one.
    pub lose_set: Option<u64>,
    /// From this GET on it damages values.
    pub damage_get: Option<u64>,
    /// From this request on it refuses all.
    pub refuse: Option<u64>,
    /// It closes a connection after so many of all requests.
    pub close_after: Option<u64>,
    /// It speaks another protocol.
    pub nonsense: bool,
}

#[derive(Debug, Default)]
struct State {
    values: HashMap<Bytes, Bytes>,
    requests: u64,
    gets: u64,
    sets: u64,
    first: Option<Instant>,
}

/// A server that runs until the tests end.
#[derive(Debug)]
pub struct Fake {
    pub address: SocketAddr,
}

impl Fake {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(stream, manner, &state));
            }
        });
        Self { address }
    }
}

fn serve(mut stream: TcpStream, manner: Manner, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut requests, mut buffer) = (BytesMut::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        requests.extend_from_slice(&buffer[..read]);
        while let Some((request, _, _)) = decode_bytes_mut(&mut requests).map_err(io::Error::other)? {
            let Frame::Array(words) = request else { return Ok(()) };
            let bytes = |word| if let Frame::BulkString(bytes) = word { Some(bytes) } else { None };
            let words: Vec<Bytes> = words.into_iter().filter_map(bytes).collect();
            thread::sleep(manner.pause);
            stopped(manner, state);
            let Some(reply) = reply(&words, manner, &mut state.lock().unwrap()) else { return Ok(()) };
            let mut bytes = BytesMut::new();
            extend_encode(&mut bytes, &reply, false).map_err(io::Error::other)?;
            let bytes = if manner.nonsense { &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..] } else { &bytes };
            stream.write_all(bytes)?;
        }
    }
}

/// Sleeps until the end of the stop, if it has begun.
fn stopped(Manner { stop, .. }: Manner, state: &Mutex<State>) {
    let elapsed = state.lock().unwrap().first.get_or_insert_with(Instant::now).elapsed();
    if let Some((from, until)) = stop
        && (from..until).contains(&elapsed)
    {
        thread::sleep(until - elapsed);
    }
}

fn reply(words: &[Bytes], manner: Manner, state: &mut State) -> Option<Frame> {
    let is_from = |first: Option<u64>, number: u64| first.is_some_and(|first| number >= first);
    let number = state.requests;
    state.requests += 1;
    if is_from(manner.close_after, number) {
        return None;
    }
    if is_from(manner.refuse, number) {
        return Some(Frame::Error("ERR refused".into()));
    }
    let value =
        |state: &State, key: &Bytes| state.values.get(key).cloned().map_or(Frame::Null, Frame::BulkString);
    Some(match &*words[0] {
        b"SET" => {
            state.sets += 1;
            if !is_from(manner.lose_set, state.sets) || state.sets.is_multiple_of(2) {
                state.values.insert(words[1].clone(), words[2].clone());
            }
            Frame::SimpleString("OK".into())
        }
        b"GET" => {
            state.gets += 1;
            match value(state, &words[1]) {
                Frame::BulkString(bytes) if is_from(manner.damage_get, state.gets) => {
                    let mut bytes = bytes.to_vec();
                    *bytes.last_mut().unwrap() ^= 1;
                    Frame::BulkString(bytes.into())
                }
                frame => frame,
            }
        }
        b"MGET" => Frame::Array(words[1..].iter().map(|key| value(state, key)).collect()),
        _ => Frame::Error("ERR unknown command".into()),
    })
}
