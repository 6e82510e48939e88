//! Any stream of events against the service, with the fake host's invariants.
//!
//! Four bytes are one step: the same steps, decoded the same way, as in the
//! million random schedules of `tests/fake_host`, but chosen by coverage.
//!
//! `cargo xtask test` runs it briefly over the corpus; docs/testing.md has longer runs.

#![no_main]

#[path = "../../tests/fake_host/sim/mod.rs"]
mod sim;

use libfuzzer_sys::fuzz_target;
use sim::step::{Rules, Step};

/// A queue holds 512 events; longer streams show nothing new.
const LONGEST: usize = 256;

fuzz_target!(|data: &[u8]| {
    let mut words = data.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let Some(rules) = words.next().map(Rules::decode) else { return };
    let steps: Vec<Step> = words.take(LONGEST).map(|word| Step::decode(word, rules.hostile)).collect();
    if let Err(broken) = sim::run(rules, &steps) {
        panic!("{broken}\n({rules:?},\n&{steps:#?})");
    }
});
