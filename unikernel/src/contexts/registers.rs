//! Checks that a wait of either kind preserves every register, bit for bit.

use std::arch::is_x86_feature_detected;
use std::thread;

use apf_service::NonPreemptible;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::{Bench, Verdict, demand};
use super::machine::{Registers, touch_avx, touch_sse};
use super::tasks::{Ticker, spawn};
use crate::host;

/// Faults of each task.
const ROUNDS: usize = 200;
/// Tasks that do the same with other values at the same time: a register that is not saved
/// appears with another task's value.
const OTHERS: usize = 3;

/// Kind of the watched task's waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Schedule,
    /// Inside a guard.
    Halt,
    /// Either, at random.
    Mixed,
}

/// Checks waits by schedule.
pub fn schedule(bench: &Bench) -> Verdict {
    check(bench, Kind::Schedule)
}

/// Checks waits by halt.
pub fn halt(bench: &Bench) -> Verdict {
    check(bench, Kind::Halt)
}

/// Checks waits by schedule and by halt, in random order, in every task.
pub fn mixed(bench: &Bench) -> Verdict {
    check(bench, Kind::Mixed)
}

fn check(bench: &Bench, kind: Kind) -> Verdict {
    let go = super::tasks::Sign::default();
    let mixer = Ticker::default();
    let others_kind = if kind == Kind::Mixed { kind } else { Kind::Schedule };
    let (watched, others, counts) = thread::scope(|scope| {
        let others: Vec<_> = (1..=OTHERS)
            .map(|task| {
                let go = &go;
                spawn(scope, move || {
                    go.wait_for(1);
                    rounds(bench, others_kind, task as u64)
                })
            })
            .collect();
        // Changes its vector registers at each turn, and never faults.
        let mixing = spawn(scope, || mix(bench.seed, &mixer));
        host::evict();
        let before = host::counters();
        go.give();
        let watched = rounds(bench, kind, 0);
        let mut others: Vec<_> = others.into_iter().map(|task| task.join().expect("a task")).collect();
        let counts = host::counters().since(&before);
        mixer.stop();
        others.push(mixing.join().expect("a task"));
        (watched, others, counts)
    });
    for result in [watched].into_iter().chain(others) {
        result?;
    }
    let rounds = ROUNDS as u64;
    let (needed, waits) = match kind {
        Kind::Schedule => (rounds, counts.schedule_waits),
        Kind::Halt => (rounds, counts.halt_waits),
        Kind::Mixed => (rounds * (1 + OTHERS as u64), counts.schedule_waits + counts.halt_waits),
    };
    demand(waits >= needed, || format!("only {waits} waits for {needed} faults"))?;
    Ok(format!(
        "{} tasks, {ROUNDS} faults each ({} schedule, {} halt waits): {} and flags unchanged; another task changed its own {} times",
        1 + OTHERS,
        counts.schedule_waits,
        counts.halt_waits,
        if has_avx() { "integer, YMM, x87" } else { "integer, XMM, x87" },
        mixer.turns()
    ))
}

/// Touches evicted pages with random register contents.
fn rounds(bench: &Bench, kind: Kind, task: u64) -> Result<(), String> {
    let mut random = SmallRng::seed_from_u64(bench.seed ^ (task << 32));
    for round in 0..ROUNDS {
        let (address, word) = bench.word();
        let load = Registers::random(&mut random, word);
        let halts = kind == Kind::Halt || (kind == Kind::Mixed && random.random());
        let guard = halts.then(NonPreemptible::enter);
        let store = load.after_touching(address);
        drop(guard);
        compare(&load, &store).map_err(|error| format!("task {task}, round {round}: {error}"))?;
        // Gives the other tasks turns: under guards they get none.
        thread::yield_now();
    }
    Ok(())
}

/// Changes its own registers all the time, on resident memory.
fn mix(seed: u64, mixer: &Ticker) -> Result<(), String> {
    let mut random = SmallRng::seed_from_u64(!seed);
    let word = 0x1234_5678_9abc_def0;
    let mut result = Ok(());
    mixer.run_with(|| {
        let load = Registers::random(&mut random, word);
        let store = load.after_touching(&raw const word);
        if let Err(error) = compare(&load, &store) {
            result = Err(format!("the task that changes its registers: {error}"));
        }
    });
    result
}

fn has_avx() -> bool {
    is_x86_feature_detected!("avx")
}

/// Random flags: carry, parity, auxiliary carry, zero, sign, overflow and direction.
const CHANGING_FLAGS: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11 | 1 << 10;
/// Fixed flags: interrupts are enabled (in a program of the host, too), and bit 1 is always 1.
const FIXED_FLAGS: u64 = 1 << 9 | 1 << 1;
const DIRECTION: u64 = 1 << 10;

impl Registers {
    /// Makes random contents; `word` is the word that the access will read.
    fn random(random: &mut SmallRng, word: u64) -> Self {
        /// All exceptions masked.
        const MXCSR: u32 = 0x1f80;
        const CONTROL: u32 = 0x7f;
        let rounding: u32 = random.random_range(0..4);
        // Set in most rounds, because no other code sets it.
        let direction = if random.random_range(0..4) > 0 { DIRECTION } else { 0 };
        let vector_words = if has_avx() { 4 } else { 2 };
        Self {
            vector: std::array::from_fn(|_| {
                std::array::from_fn(|n| if n < vector_words { random.random() } else { 0 })
            }),
            // Any mantissa, with an exponent of 0 to 63: a normal number.
            x87: std::array::from_fn(|_| {
                [random.random::<u64>() | 1 << 63, 0x3fff + random.random_range(0..64)]
            }),
            red_zone: std::array::from_fn(|_| random.random()),
            general: std::array::from_fn(|_| random.random()),
            rax: word,
            rflags: FIXED_FLAGS | (random.random::<u64>() & CHANGING_FLAGS) | direction,
            mxcsr: MXCSR | rounding << 13 | random.random_range(0..64),
            control: CONTROL | rounding << 10 | 0x300,
        }
    }

    /// Touches `address` with these contents, and returns all registers after the access.
    fn after_touching(&self, address: *const u64) -> Self {
        let mut store = Self { vector: [[0; 4]; 16], x87: [[0; 2]; 8], ..self.clone() };
        // SAFETY: the contents are from `random`, AVX is used only if there is AVX, and the
        // callers' addresses hold a word.
        unsafe {
            if has_avx() {
                touch_avx(self, &mut store, address);
            } else {
                touch_sse(self, &mut store, address);
            }
        }
        store
    }
}

/// Names the first register that has changed.
fn compare(load: &Registers, store: &Registers) -> Result<(), String> {
    const FLAGS: u64 = CHANGING_FLAGS | FIXED_FLAGS;
    const GENERAL: [&str; 14] =
        ["rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    fn all<T: PartialEq + std::fmt::Debug>(
        load: &[T],
        store: &[T],
        name: impl Fn(usize) -> String,
    ) -> Result<(), String> {
        let mut pairs = load.iter().zip(store).enumerate();
        pairs.find(|(_, (load, store))| load != store).map_or(Ok(()), |(n, (load, store))| {
            Err(format!("{} was {load:x?} and became {store:x?}", name(n)))
        })
    }
    all(&[load.rax], &[store.rax], |_| "the word read".into())?;
    all(&load.general, &store.general, |n| GENERAL[n].into())?;
    all(&[load.rflags & FLAGS], &[store.rflags & FLAGS], |_| "rflags".into())?;
    all(&load.red_zone, &store.red_zone, |n| format!("the red zone at -{}", 8 * (n + 1)))?;
    all(&load.vector, &store.vector, |n| format!("vector register {n}"))?;
    all(&[load.mxcsr], &[store.mxcsr], |_| "mxcsr".into())?;
    all(&load.x87, &store.x87, |n| format!("st{n}"))?;
    all(&[load.control], &[store.control], |_| "the x87 control word".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The assembly itself changes no register, so in the guest a wait has.
    #[test]
    fn an_access_to_resident_memory_changes_no_register() {
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..100 {
            let word = random.random();
            let load = Registers::random(&mut random, word);
            compare(&load, &load.after_touching(&raw const word)).unwrap();
        }
    }

    #[test]
    fn each_changed_register_is_named() {
        let load = Registers::random(&mut SmallRng::seed_from_u64(7), 3);
        let named = |change: fn(&mut Registers)| {
            let mut store = load.clone();
            change(&mut store);
            compare(&load, &store).unwrap_err().split(" was ").next().unwrap().to_owned()
        };
        assert_eq!(named(|r| r.general[13] ^= 1), "r15");
        assert_eq!(named(|r| r.rflags ^= DIRECTION), "rflags");
        assert_eq!(named(|r| r.red_zone[15] ^= 1 << 63), "the red zone at -128");
        assert_eq!(named(|r| r.vector[9][1] ^= 1), "vector register 9");
        assert_eq!(named(|r| r.mxcsr ^= 1), "mxcsr");
        assert_eq!(named(|r| r.x87[7][0] ^= 1), "st7");
        assert_eq!(named(|r| r.control ^= 1 << 10), "the x87 control word");
        assert_eq!(named(|r| r.rax ^= 1), "the word read");
    }
}
