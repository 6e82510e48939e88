//! The parent: starts the child under the library, sends commands to it through its standard
//! streams, and requests to the pager through the socket.

use crate::child;
use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats, Status};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

/// A child or pager that does not answer for this long has lost a fault.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Vmm {
    child: Child,
    answers: Receiver<String>,
    socket: PathBuf,
    pager: BufReader<UnixStream>,
}

impl Vmm {
    /// Starts a guest with all of its RAM in one piece. `None`, with a message, if this machine does
    /// not permit it.
    pub fn start(name: &str) -> Option<Self> {
        let mut vmm = Self::start_with(name, "whole")?;
        assert_eq!(vmm.status().ram_bytes, (child::PAGES * PAGE_BYTES) as u64);
        Some(vmm)
    }

    /// Starts a guest with RAM of a kind that the child knows.
    pub fn start_with(name: &str, kind: &str) -> Option<Self> {
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
        // Before the child has mapped anything: the library listens from the start.
        let pager = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            UnixStream::connect(&socket).ok()
        });
        let pager = BufReader::new(connected(pager.expect("the library does not listen")));
        let mut vmm = Self { child, answers, socket, pager };
        assert!(vmm.status().error.is_some(), "there is no RAM yet");
        assert_eq!(
            vmm.command(&format!("map {kind}")),
            "clean",
            "the variables must not reach the VMM's children"
        );
        if let Some(error) = vmm.status().error.filter(|error| error.contains("userfaultfd")) {
            // Not `eprintln`, which the test harness captures.
            io::stderr().write_all(format!("SKIPPED: {name}: {error}\n").as_bytes()).unwrap();
            return None;
        }
        Some(vmm)
    }

    pub fn status(&mut self) -> Status {
        match self.ask(&Request::Status {}) {
            Response::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the memory of the guest's pages in the VMM, and in the pager's store, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        memory_of(self.child.id())
    }

    /// Sends the child a command and waits for its answer.
    pub fn command(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let stats = self.stats();
            panic!("`{command}` does not end; {stats:?}")
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

    /// Disconnects in the middle of a request, and connects again.
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

    /// Requests an eviction that must fail, and returns the error.
    pub fn refused(&mut self, only: Option<Parts>, ack: Option<u64>) -> String {
        match self.ask(&Request::Evict { ack, only, eviction: Eviction::All, seed: 0 }) {
            Response::Error { error } => error,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the maximum of the memory while `action` ran.
    pub fn most_memory_while(&mut self, action: impl FnOnce(&mut Self)) -> u64 {
        let (process, done) = (self.child.id(), AtomicBool::new(false));
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut most = 0;
                while !done.load(SeqCst) {
                    let (resident, stored) = memory_of(process);
                    most = most.max(resident + stored);
                }
                most
            });
            action(self);
            done.store(true, SeqCst);
            watcher.join().unwrap()
        })
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

    pub fn touched(&mut self) -> Vec<u64> {
        match self.ask(&Request::Touched {}) {
            Response::Touched { pages } => pages,
            other => panic!("{other:?}"),
        }
    }

    pub fn bring_ahead(&mut self, pages: Vec<u64>) -> u64 {
        match self.ask(&Request::BringAhead { pages }) {
            Response::BringingAhead { pages } => pages,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the counts satisfy `done`.
    pub fn wait_until(&mut self, done: impl Fn(&Stats) -> bool) {
        let started = Instant::now();
        loop {
            let stats = self.stats();
            if done(&stats) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{stats:?}");
            thread::sleep(Duration::from_millis(5));
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
        let _ = fs::remove_file(&self.socket);
    }
}

/// Reads both memory sizes. They change meanwhile, so a reading is used only if the store's size
/// was nearly the same before and after.
fn memory_of(process: u32) -> (u64, u64) {
    const CLOSE: u64 = 4 << 20;
    loop {
        let before = stored_by(process);
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let stored = stored_by(process);
        if stored.abs_diff(before) <= CLOSE {
            return (resident << 10, stored);
        }
    }
}

fn stored_by(process: u32) -> u64 {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let is_store =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.starts_with("/memfd:apf-pager (deleted)"));
    files.filter(is_store).map(|path| fs::metadata(path).unwrap().blocks() * 512).sum()
}

fn connected(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Finds the library. Cargo builds it for integration tests beside the test; `cargo build` puts it
/// one folder above.
fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("libapf_pager.so"));
    candidates.find(|path| path.exists()).expect("cargo has not built libapf_pager.so")
}
