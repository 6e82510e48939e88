//! `cost`: so many pages, one after the other, and nothing else.
//!
//! Parameter: `pages`. The host counts instructions; two runs that differ in
//! their number of pages tell what a fault costs.

use unikernel::grid::Point;

use super::bench::{Bench, Measured};
use super::overlap;

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(point["pages"] as usize);
    overlap::read(bench, 1, &pages, || bench.evict(point))
}
