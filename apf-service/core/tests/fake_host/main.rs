//! The service against a fake host: every order of events, without KVM.
//!
//! Bugs that it finds: a lost or doubled wake-up, a waiter released without a
//! reason or by another core's or an earlier generation's event, a counter that does
//! not add up, a panic.
//!
//! A failure prints the schedule, shrunk, as it can be pasted into
//! `KNOWN` below. `APF_SCHEDULES` sets how many to run, `APF_SEED` where to
//! start.

mod overdue;
mod shrink;
mod sim;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use sim::step::{Place, Rules, Step};
use sim::world::Tally;

/// Schedules of the ordinary run.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and good enough to choose steps.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    }
}

fn schedule(seed: u64) -> (Rules, Vec<Step>) {
    let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95));
    let rules = Rules::decode(random.next());
    let length = 4 + random.next() % 44;
    (rules, (0..length).map(|_| Step::decode(random.next(), rules.hostile)).collect())
}

fn run(rules: Rules, steps: &[Step]) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| sim::run(rules, steps))).unwrap_or_else(|_| Err("a panic".into()))
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let (first, count) =
        (environment("APF_SEED").unwrap_or(0), environment("APF_SCHEDULES").unwrap_or(SCHEDULES));
    let start = Instant::now();
    let mut steps_run = 0;
    let mut tally = Tally::default();
    for seed in first..first + count {
        let (rules, steps) = schedule(seed);
        steps_run += steps.len();
        let broken = match run(rules, &steps) {
            Ok(of_one) => {
                tally += of_one;
                continue;
            }
            Err(broken) => broken,
        };
        let (rules, steps) = shrink::shrink(rules, steps, |rules, steps| run(rules, steps).is_err());
        let broken = run(rules, &steps).err().unwrap_or(broken);
        panic!("seed {seed}: {broken}\n({rules:?},\n&{steps:#?})");
    }
    // Past the test harness, which keeps back what a passing test prints.
    let seconds = start.elapsed().as_secs_f32();
    let _ = writeln!(std::io::stderr(), "fake host: {count} schedules, {steps_run} steps, {seconds:.1} s");
    let Tally { lost, repeated, delayed, limits } = tally;
    let _ = writeln!(
        std::io::stderr(),
        "ready events: {lost} lost, {repeated} repeated, {delayed} later than their wait's limit; \
         {limits} waits met their limit, and every wait ended"
    );
}

const PLAIN: Rules =
    Rules { cores: 1, hostile: false, legacy: false, ids: 1 << 20, first_id: 1, wakes_all: false };

/// Schedules worth a name, and those that once failed.
const KNOWN: &[(&str, Rules, &[Step])] = &[
    (
        "the id wraps, and 0 is skipped",
        Rules { first_id: (1 << 20) - 1, ..PLAIN },
        &[Step::Fault { core: 0, place: Place::App }, Step::Fault { core: 0, place: Place::Kernel }],
    ),
    (
        "ready overtakes a fault that is to halt",
        PLAIN,
        &[
            Step::FaultInFlight { core: 0, place: Place::Kernel },
            Step::Complete { core: 0, nth: 0 },
            Step::Interrupt { core: 0 },
            Step::Inject { core: 0 },
        ],
    ),
    ("the 65th is synchronous", PLAIN, &[Step::Burst { core: 0, place: Place::App, count: 70 }]),
    (
        "a full queue on a core where the service thread does not run",
        Rules { cores: 2, ..PLAIN },
        &[
            Step::Fault { core: 0, place: Place::App },
            Step::Flood { core: 1, count: 300 },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
            Step::Interrupt { core: 1 },
        ],
    ),
    (
        "a ready on another core finds who halts, and who is scheduled",
        Rules { cores: 3, ..PLAIN },
        &[
            Step::Fault { core: 2, place: Place::Kernel },
            Step::Fault { core: 0, place: Place::App },
            Step::CompleteElsewhere { core: 2, nth: 0, to: 1 },
            Step::Interrupt { core: 1 },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
            Step::Interrupt { core: 1 },
            Step::Service { events: 9 },
        ],
    ),
    (
        "a ready on another core overtakes a fault of either kind",
        Rules { cores: 2, ..PLAIN },
        &[
            Step::Interrupt { core: 1 },
            Step::FaultInFlight { core: 0, place: Place::Kernel },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
            Step::FaultInFlight { core: 0, place: Place::App },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
        ],
    ),
    (
        "a ready is in the area of another core that is disarmed",
        Rules { cores: 2, ..PLAIN },
        &[
            Step::Fault { core: 0, place: Place::Kernel },
            Step::Interrupt { core: 1 },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
            Step::Disarm { core: 1 },
        ],
    ),
    (
        "a halt goes on by schedule while its ready comes on another core, and one is lost",
        Rules { cores: 2, hostile: true, ..PLAIN },
        &[
            Step::Fault { core: 0, place: Place::Alone },
            Step::CompleteElsewhere { core: 0, nth: 0, to: 1 },
            Step::HaltLimit { core: 0 },
            Step::Interrupt { core: 1 },
            Step::Fault { core: 1, place: Place::Kernel },
            Step::Lose { core: 1, nth: 0 },
            Step::HaltLimit { core: 1 },
        ],
    ),
    (
        "restored while waits of both kinds are under way, and tokens recur",
        PLAIN,
        &[
            Step::Fault { core: 0, place: Place::App },
            Step::Fault { core: 0, place: Place::Kernel },
            Step::Complete { core: 0, nth: 0 },
            Step::Restore { lost: None },
            Step::Interrupt { core: 0 },
            Step::Interrupt { core: 0 },
            Step::Fault { core: 0, place: Place::App },
        ],
    ),
    (
        "restored by a host that has lost the registers, which a check notices",
        PLAIN,
        &[
            Step::Fault { core: 0, place: Place::App },
            Step::Restore { lost: Some(0) },
            Step::Check { core: 0 },
            Step::Run { core: 0, nth: 0 },
            Step::Fault { core: 0, place: Place::App },
        ],
    ),
    (
        "re-armed while tasks wait",
        PLAIN,
        &[
            Step::Burst { core: 0, place: Place::App, count: 3 },
            Step::Complete { core: 0, nth: 0 },
            Step::Interrupt { core: 0 },
            Step::Disarm { core: 0 },
            Step::Arm { core: 0 },
            Step::Fault { core: 0, place: Place::App },
            Step::Service { events: 2 },
        ],
    ),
];

#[test]
fn known_schedules() {
    for (name, rules, steps) in KNOWN {
        if let Err(broken) = run(*rules, steps) {
            panic!("{name}: {broken}");
        }
    }
}
