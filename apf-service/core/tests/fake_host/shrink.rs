//! Makes a failing schedule short enough to be understood.

use crate::sim::step::{Rules, Step};

/// Leaves out as many steps as possible, in ever smaller pieces, while it
/// still fails (delta debugging).
pub fn shrink(
    rules: Rules,
    mut steps: Vec<Step>,
    fails: impl Fn(Rules, &[Step]) -> bool,
) -> (Rules, Vec<Step>) {
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut shorter = steps.clone();
            shorter.drain(at..(at + piece).min(steps.len()));
            if fails(rules, &shorter) {
                steps = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    let tamer = [
        Rules { cores: 1, ..rules },
        Rules { legacy: false, ..rules },
        Rules { ids: 1 << 20, first_id: 1, ..rules },
    ];
    let rules = tamer.into_iter().find(|&tamer| fails(tamer, &steps)).unwrap_or(rules);
    (rules, steps)
}
