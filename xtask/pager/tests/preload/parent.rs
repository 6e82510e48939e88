//! Starts the child under the library, talks to it through its standard streams and to the pager
//! through the socket.

use crate::child;
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, io, process, thread};

/// A child or pager that does not answer for this long has lost a fault.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Vmm {
    child: Child,
    answers: Receiver<String>,
    socket: PathBuf,
    pager: BufReader<UnixStream>,
}

impl Vmm {
    /// `None`, with a loud line, if this machine does not permit it.
    pub fn start(name: &str) -> Option<Self> {
        let socket = env::temp_dir().join(format!("apf-pager-{}-{name}.sock", process::id()));
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_under_preload", "--nocapture", "--test-threads=1"])
            .env(child::VARIABLE, "1")
            .env("LD_PRELOAD", library())
            .env("APF_PAGER_SOCKET", &socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, answers) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The test harness writes to the same stream.
                if let Some((_, answer)) = line.split_once(child::MARK) {
                    let _ = sender.send(answer.to_owned());
                }
            }
        });
        // Before the child has mapped anything: connecting works from the beginning.
        let pager = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            UnixStream::connect(&socket).ok()
        });
        let pager = BufReader::new(connected(pager.expect("the library does not listen")));
        let mut vmm = Self { child, answers, socket, pager };
        assert_eq!(vmm.tell("map"), "clean", "the variables must not reach the VMM's children");
        let Response::Status(status) = vmm.ask(&Request::Status {}) else { panic!("no status") };
        if let Some(error) = status.error {
            assert!(error.contains("userfaultfd"), "{error}");
            // Not `eprintln`: the test harness would keep that to itself.
            io::stderr().write_all(format!("SKIPPED: {name}: {error}\n").as_bytes()).unwrap();
            return None;
        }
        assert_eq!(status.ram_bytes, (child::PAGES * PAGE_BYTES) as u64);
        Some(vmm)
    }

    /// Gives the child a command and waits until it is done.
    pub fn tell(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let stats = self.stats();
            panic!("`{command}` does not come to its end; {stats:?}")
        });
        assert!(!answer.starts_with("WRONG"), "{command}: {answer}");
        answer
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(&(serde_json::to_string(request).unwrap() + "\n"))
    }

    pub fn send(&mut self, line: &str) -> Response {
        self.pager.get_mut().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        self.pager.read_line(&mut answer).expect("the pager does not answer");
        serde_json::from_str(&answer).unwrap()
    }

    /// A controller that goes away in the middle of a request, and the next one.
    pub fn reconnect(&mut self) {
        self.pager.get_mut().write_all(b"{\"request\":").unwrap();
        self.pager = BufReader::new(connected(UnixStream::connect(&self.socket).unwrap()));
    }

    pub fn set_latency(&mut self, micros: u64) {
        let latency = Latency::Constant { micros };
        assert_eq!(self.ask(&Request::SetLatency { latency, seed: 1 }), Response::LatencySet {});
    }

    pub fn evict(&mut self, ack: Option<u64>) -> Evicted {
        self.evict_only(None, ack)
    }

    pub fn evict_only(&mut self, only: Option<Parts>, ack: Option<u64>) -> Evicted {
        self.evict_as(Eviction::All, 0, only, ack)
    }

    pub fn evict_as(
        &mut self,
        eviction: Eviction,
        seed: u64,
        only: Option<Parts>,
        ack: Option<u64>,
    ) -> Evicted {
        match self.ask(&Request::Evict { ack, only, eviction, seed }) {
            Response::Evicted(evicted) => evicted,
            other => panic!("{other:?}"),
        }
    }

    pub fn restore(&mut self, ack: Option<u64>) -> Restored {
        match self.ask(&Request::Restore { ack }) {
            Response::Restored(restored) => restored,
            other => panic!("{other:?}"),
        }
    }

    pub fn stats(&mut self) -> Stats {
        match self.ask(&Request::Stats {}) {
            Response::Stats(stats) => stats,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn connected(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Cargo builds the library for its integration tests, beside the test; `cargo build` puts it one
/// folder above.
fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("libapf_pager.so"));
    candidates.find(|path| path.exists()).expect("cargo has not built libapf_pager.so")
}
