//! The child under the library: memory like a guest's, threads that work on it like a guest's vCPUs,
//! and commands from the parent on standard input, each answered with one line.

use apf_vocabulary::{PAGE_BYTES, mailbox};
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, io, process, ptr};

pub const VARIABLE: &str = "APF_PAGER_TEST_CHILD";
pub const MARK: &str = "@@ ";
/// Guest-physical address of the RAM.
pub const BASE: u64 = 0x5000_0000;
/// Pages of a small guest.
pub const FEW_PAGES: usize = 256;
/// 64 MiB, except where the parent asks for a small guest.
pub const PAGES: usize = (64 << 20) / WORDS / 8;
const WORDS: usize = PAGE_BYTES / 8;
/// Page 0: the mailbox. Page 1: counters that all threads increment. Then those of the workers.
const OWN_PAGES: usize = 2;
const WORKERS: usize = 6;

type Page = [AtomicU64; WORDS];

pub fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

pub fn run() -> ! {
    let mut memory: &'static [Page] = &[];
    let mut workers = Vec::new();
    let mut touches: Vec<JoinHandle<u64>> = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    for line in io::stdin().lines().map_while(Result::ok) {
        let (command, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let argument = number;
        let number: u64 = number.parse().unwrap_or(0);
        let mut answer = "done".to_owned();
        match command {
            "map" => {
                let inherited = ["LD_PRELOAD", "APF_PAGER_SOCKET"].iter().any(|n| env::var_os(n).is_some());
                answer = if inherited { "dirty" } else { "clean" }.to_owned();
                memory = map(argument);
            }
            // RAM that is added late.
            "more" => give(BASE + (1 << 40), memory.as_ptr().addr() - (2 << 20), PAGE_BYTES),
            "become-vcpu" => become_vcpu(),
            "work" => {
                workers = (0..WORKERS)
                    .map(|index| {
                        let stop = stop.clone();
                        thread::spawn(move || Worker::new(memory, index).work(&stop))
                    })
                    .collect();
            }
            "fill" => memory.iter().for_each(|page| page[1].store(1, SeqCst)),
            "verify" => {
                stop.store(true, SeqCst);
                let steps: u64 = workers.drain(..).map(|worker| worker.join().unwrap()).sum();
                let counted: u64 = memory[1].iter().map(|counter| counter.load(SeqCst)).sum();
                if counted != steps {
                    wrong(&format!("{steps} increments, {counted} counted"));
                }
                answer = format!("{steps} steps");
            }
            "request" => {
                memory[0][mailbox::REQUEST_OFFSET / 8].store(number.to_le(), SeqCst);
            }
            "acked" => wait_for(
                || u64::from_le(memory[0][mailbox::ACK_OFFSET / 8].load(SeqCst)) == number,
                "acknowledged",
            ),
            // Untouched pages and pages that have been written to, in turn.
            "touch-one-by-one" => {
                let fastest = (0..number as usize).map(|n| touch(&memory[100 + 7 * n])).min();
                answer = fastest.unwrap().to_string();
            }
            "touch-together" => {
                let start = Instant::now();
                let touches = start_touches(memory, number);
                touches.into_iter().for_each(|touch| assert!(touch.join().is_ok()));
                answer = start.elapsed().as_micros().to_string();
            }
            "start-touches" => touches = start_touches(memory, number),
            "end-touches" => {
                let fastest = touches.drain(..).map(|touch| touch.join().unwrap()).min();
                answer = fastest.unwrap().to_string();
            }
            _ => wrong(command),
        }
        println!("{MARK}{answer}");
    }
    process::exit(0)
}

fn wrong(what: &str) -> ! {
    println!("{MARK}WRONG: {what}");
    process::exit(1)
}

fn wait_for(done: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        if Instant::now() > deadline {
            wrong(&format!("not {what}"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Maps memory as QEMU does, reserved first and then mapped over, and gives it to KVM as a guest's
/// RAM. In `pieces` the guest has it as two nodes, the upper half first, and with a gap.
fn map(kind: &str) -> &'static [Page] {
    let pages = if matches!(kind, "small" | "locked") { FEW_PAGES } else { PAGES };
    let bytes = pages * WORDS * 8;
    let sharing = if kind == "shared" { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    let anonymous = libc::MAP_ANONYMOUS | sharing;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, and one over it; page-aligned, zeroed, never unmapped, and valid as
    // atomics.
    let memory = unsafe {
        let reserved = libc::mmap(ptr::null_mut(), bytes + (2 << 20), libc::PROT_NONE, anonymous, -1, 0);
        assert_ne!(reserved, libc::MAP_FAILED);
        let memory = libc::mmap(reserved, bytes, rw, anonymous | libc::MAP_FIXED, -1, 0);
        assert_eq!(memory, reserved);
        if kind == "locked" {
            assert_eq!(libc::mlock(memory, bytes), 0, "{}", io::Error::last_os_error());
        }
        std::slice::from_raw_parts(memory.cast::<Page>(), pages)
    };
    for (word, bytes) in memory[0].iter().zip(mailbox::MAGIC.as_chunks().0) {
        word.store(u64::from_ne_bytes(*bytes), SeqCst);
    }
    let start = memory.as_ptr().addr();
    if kind == "pieces" {
        let half = bytes / 2;
        give(BASE, start + half, half);
        give(BASE + 2 * half as u64, start, half);
    } else {
        give(BASE, start, bytes);
    }
    memory
}

/// Makes a memory slot, as a VMM does. KVM is not needed: the library sees the call.
fn give(guest: u64, start: usize, bytes: usize) {
    const KVM_SET_USER_MEMORY_REGION: libc::c_ulong = 0x4020_ae46;
    let region: [u64; 4] = [0, guest, bytes as u64, start as u64];
    // SAFETY: the descriptor is invalid, so the kernel does nothing.
    let result = unsafe { libc::ioctl(-1, KVM_SET_USER_MEMORY_REGION, region.as_ptr()) };
    assert_eq!(result, -1);
}

/// Makes this thread a virtual CPU, as the library sees it.
fn become_vcpu() {
    const KVM_RUN: libc::c_ulong = 0xae80;
    // SAFETY: the descriptor is invalid, so the kernel does nothing.
    assert_eq!(unsafe { libc::ioctl(-1, KVM_RUN, 0) }, -1);
}

/// Reads a word, and returns the time that it took, in microseconds.
fn touch(page: &Page) -> u64 {
    let start = Instant::now();
    black_box(page[8].load(SeqCst));
    start.elapsed().as_micros() as u64
}

fn start_touches(memory: &'static [Page], count: u64) -> Vec<JoinHandle<u64>> {
    (0..count as usize).map(|n| thread::spawn(move || touch(&memory[5000 + 3 * n]))).collect()
}

/// A thread that owns every page whose number is its index modulo the number of workers, and knows
/// their contents.
struct Worker {
    memory: &'static [Page],
    index: usize,
    versions: Vec<u64>,
    pipe: (PipeReader, PipeWriter),
}

impl Worker {
    fn new(memory: &'static [Page], index: usize) -> Self {
        Self { memory, index, versions: vec![0; memory.len() / WORKERS], pipe: io::pipe().unwrap() }
    }

    /// Verifies and rewrites random pages, then verifies all. Returns the number of steps.
    fn work(mut self, stop: &AtomicBool) -> u64 {
        let (mut seed, mut steps) = (self.index as u64, 0);
        while !stop.load(SeqCst) {
            seed = random(seed);
            // Half of the time in a small set, so that several workers wait in one eviction, and
            // pages are written often.
            let range = if seed & 1 == 0 { 16 } else { self.pages() };
            let own = (seed >> 8) as usize % range;
            self.verify(own);
            self.rewrite(own, seed & 6 == 0);
            // All workers on one page, without a lock: increments must not get lost either.
            self.memory[1][(seed >> 40) as usize % WORDS].fetch_add(1, SeqCst);
            steps += 1;
        }
        (0..self.pages()).for_each(|own| self.verify(own));
        steps
    }

    fn pages(&self) -> usize {
        (self.memory.len() - OWN_PAGES) / WORKERS
    }

    fn page(&self, own: usize) -> &'static Page {
        &self.memory[OWN_PAGES + own * WORKERS + self.index]
    }

    fn expected(&self, own: usize, word: usize) -> u64 {
        match self.versions[own] {
            0 => 0,
            version => random((self.index << 56 | own << 32 | word) as u64 ^ version << 16),
        }
    }

    fn verify(&self, own: usize) {
        for (word, cell) in self.page(own).iter().enumerate() {
            let (found, expected) = (cell.load(SeqCst), self.expected(own, word));
            if found != expected {
                wrong(&format!("worker {} page {own} word {word}: {found:x}, not {expected:x}", self.index));
            }
        }
    }

    /// Rewrites a page: word by word, so that an eviction can occur in between; or by the kernel,
    /// whose accesses fault as KVM's do.
    fn rewrite(&mut self, own: usize, by_kernel: bool) {
        self.versions[own] += 1;
        let page = self.page(own);
        if !by_kernel {
            page.iter().enumerate().for_each(|(word, cell)| cell.store(self.expected(own, word), SeqCst));
            return;
        }
        let contents: Vec<u8> = (0..WORDS).flat_map(|word| self.expected(own, word).to_ne_bytes()).collect();
        self.pipe.1.write_all(&contents).unwrap();
        // SAFETY: the page is this worker's alone, and mapped for good.
        let bytes = unsafe { std::slice::from_raw_parts_mut(page.as_ptr().cast_mut().cast(), WORDS * 8) };
        self.pipe.0.read_exact(bytes).unwrap();
    }
}
