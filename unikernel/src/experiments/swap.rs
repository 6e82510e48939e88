//! `swap`: the host's own swap in place of the pager, all memory evicted.
//!
//! Parameters: `tasks`, `page_cluster`. The host sets the latter: it reads
//! 2^`page_cluster` pages of swap at once.

use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};
use super::overlap;
use crate::host;

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let pages = bench.pages(usize::MAX);
    let measured = overlap::read(bench, point["tasks"] as usize, &pages, || bench.evict_all(point));
    // Code that is still evicted would fault when the service ends, where only the host counts.
    host::restore();
    measured
}
