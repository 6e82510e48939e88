//! The thread's loop: faults, due times and control connections, whichever comes first.

use crate::service::Service;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::ptr;
use std::time::{Duration, Instant};

/// Limit of a request's line.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Serves until the process ends.
pub fn run(listener: &UnixListener, mut service: Service) -> ! {
    sharpen_timers();
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        service.serve_due();
        let fault_fd = service.pager().map(|pager| pager.uffd().as_raw_fd());
        let control_fds = connections.iter().map(|c| c.stream.as_raw_fd());
        let mut fds: Vec<_> = [fault_fd.unwrap_or(-1), listener.as_raw_fd()]
            .into_iter()
            .chain(control_fds)
            .map(readable)
            .collect();
        wait(&mut fds, service.pager().and_then(|pager| pager.next_due()));

        if fds[0].revents != 0 {
            service.take_faults();
        }
        let mut ready = fds[2..].iter().map(|fd| fd.revents != 0);
        connections.retain_mut(|c| !ready.next().unwrap_or(false) || c.serve(&mut service));
        if fds[1].revents != 0 {
            connections.extend(Connection::accept(listener));
        }
    }
}

/// Sets this thread's timer slack to 1 ns: by default a timer may be 50 µs late, to save power.
fn sharpen_timers() {
    // SAFETY: the call takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Makes the entry that waits for `fd` to be readable. `ppoll` skips a negative descriptor.
fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// Waits until a descriptor is ready or the time is `until`. All signals are blocked, so none
/// interrupts it.
fn wait(fds: &mut [libc::pollfd], until: Option<Instant>) {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(3600));
        libc::timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel writes to the `revents` of this many entries; the timeout is read, and may
    // be null.
    let result = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, ptr::null()) };
    if result < 0 {
        fds.iter_mut().for_each(|fd| fd.revents = 0);
    }
}

/// A connection to a controller; the pager continues when it closes.
struct Connection {
    stream: UnixStream,
    /// Start of a line whose rest has not been read yet.
    pending: Vec<u8>,
}

impl Connection {
    fn accept(listener: &UnixListener) -> Option<Self> {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, pending: Vec::new() })
    }

    /// Reads the available input and answers every whole line. Returns whether to keep the
    /// connection: one that sends no newlines, or does not read its answers, is dropped, because
    /// the guest's faults must not wait for it.
    fn serve(&mut self, service: &mut Service) -> bool {
        let mut buffer = [0; 4096];
        let read = match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        self.pending.extend_from_slice(&buffer[..read]);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Ok(mut answer) = serde_json::to_vec(&service.answer(&line)) else { return false };
            answer.push(b'\n');
            if self.stream.write_all(&answer).is_err() {
                return false;
            }
        }
        self.pending.len() <= MAX_LINE_BYTES
    }
}
