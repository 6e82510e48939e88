//! Sends planned requests and receives their replies, on many connections by one thread.
//!
//! A request goes out at its planned start on a connection that has nothing to do. If there is none
//! it waits, and its latency grows. A connection has one request under way, so that no reply waits
//! behind another request's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use apf_load::{Operation, Planned};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::connection::Connection;
use super::request::{Due, Keys, Outcome};

/// A request that has ended. Times are from the start of the load.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The request.
    pub request: Planned<Operation>,
    /// The time at which it was sent, if it was.
    pub sent: Option<Duration>,
    /// Time from when it could have been sent: its start had come and a connection was free.
    pub late: Duration,
    /// The time at which its reply came, or nobody waited any longer.
    pub at: Duration,
    /// Its result.
    pub outcome: Outcome,
}

/// A connection with its request.
struct Client {
    connection: Connection,
    /// The time since which it has no request.
    free: Duration,
    sent: Option<Sent>,
}

struct Sent {
    request: Planned<Operation>,
    at: Duration,
    late: Duration,
    due: Due,
}

/// A load under way.
struct Sender<'a> {
    started: Instant,
    clients: Vec<Client>,
    free: VecDeque<usize>,
    /// Requests whose starts have come.
    waiting: VecDeque<Planned<Operation>>,
    keys: &'a mut Keys,
}

/// Sends the requests of `plan`, waits for their replies until `wait` after the last start, and
/// gives `ended` each of them.
///
/// # Errors
/// A connection breaks. Wrong replies are no errors here.
pub fn send(
    plan: &[Planned<Operation>],
    connections: Vec<Connection>,
    keys: &mut Keys,
    wait: Duration,
    mut ended: impl FnMut(Ended),
) -> Result<()> {
    let free = (0..connections.len()).collect();
    let client = |connection| Client { connection, free: Duration::ZERO, sent: None };
    let clients: Vec<_> = connections.into_iter().map(client).collect();
    let mut sender = Sender { started: Instant::now(), clients, free, waiting: VecDeque::new(), keys };
    let deadline = plan.last().map_or(Duration::ZERO, |last| last.at) + wait;
    let mut plan = plan.iter().copied().peekable();
    loop {
        let now = sender.started.elapsed();
        while let Some(request) = plan.next_if(|request| request.at <= now) {
            sender.waiting.push_back(request);
        }
        sender.start_waiting()?;
        let next = plan.peek().map(|request| request.at);
        if now >= deadline || (next.is_none() && sender.is_idle()) {
            break;
        }
        sender.receive(next.unwrap_or(deadline).min(deadline), &mut ended)?;
    }
    sender.give_up(ended);
    Ok(())
}

impl Sender<'_> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.free.len() == self.clients.len()
    }

    /// Sends what waits, as far as connections are free.
    fn start_waiting(&mut self) -> Result<()> {
        while !self.free.is_empty()
            && let Some(request) = self.waiting.pop_front()
        {
            let index = self.free.pop_front().expect("it is not empty");
            let client = &mut self.clients[index];
            let (words, due) = self.keys.request(request.request);
            let at = self.started.elapsed();
            let late = at.saturating_sub(request.at.max(client.free));
            client.sent = Some(Sent { request, at, late, due });
            client.connection.send(words)?;
        }
        Ok(())
    }

    /// Waits for replies until a time at most, and takes those that have come.
    fn receive(&mut self, until: Duration, ended: &mut impl FnMut(Ended)) -> Result<()> {
        let busy: Vec<usize> =
            (0..self.clients.len()).filter(|&index| self.clients[index].sent.is_some()).collect();
        let socket = |&index: &usize| {
            let connection = &self.clients[index].connection;
            PollFd::new(connection.socket(), connection.awaits())
        };
        let mut sockets: Vec<_> = busy.iter().map(socket).collect();
        let rest = until.saturating_sub(self.started.elapsed());
        match ppoll(&mut sockets, Some(TimeSpec::from_duration(rest)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for replies"),
        }
        let has_events = |socket: &PollFd<'_>| socket.revents() != Some(PollFlags::empty());
        let ready: Vec<bool> = sockets.iter().map(has_events).collect();
        let mut replies = Vec::new();
        for (index, _) in busy.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            let client = &mut self.clients[index];
            let Some(reply) = client.connection.go_on()? else { continue };
            let Some(sent) = client.sent.take() else { continue };
            let at = self.started.elapsed();
            client.free = at;
            self.free.push_back(index);
            replies.push((sent, at, reply));
        }
        // Only now: the times of replies that came together do not have each other's checks in them.
        for (Sent { request, at: sent, late, due }, at, reply) in replies {
            let outcome = self.keys.check(due, reply);
            ended(Ended { request, sent: Some(sent), late, at, outcome });
        }
        Ok(())
    }

    /// Ends all requests without a reply.
    fn give_up(self, mut ended: impl FnMut(Ended)) {
        let at = self.started.elapsed();
        let outcome = Outcome::Unanswered;
        for Sent { request, at: sent, late, .. } in self.clients.into_iter().filter_map(|client| client.sent)
        {
            ended(Ended { request, sent: Some(sent), late, at, outcome: outcome.clone() });
        }
        for request in self.waiting {
            ended(Ended { request, sent: None, late: Duration::ZERO, at, outcome: outcome.clone() });
        }
    }
}
