//! `prefetch`: announced memory compared with plain faulting.
//!
//! Parameters: `helpers`, `page_latency_ms`. One task announces pages to a
//! `Prefetcher` with `helpers` tasks (no prefetcher if 0), then reads them one after
//! the other.

use std::time::Instant;

use apf_service::Prefetcher;
use apf_vocabulary::grid::Point;

use super::bench::{Bench, Measured};

/// Measures one sample.
pub fn measure(bench: &Bench, point: &Point) -> Measured {
    let helpers = point["helpers"] as u16;
    let pages = bench.pages(bench.pages_for(usize::from(helpers).max(1), point["page_latency_ms"]));
    let prefetcher = (helpers > 0)
        .then(|| Prefetcher::start(helpers).expect("tasks: give the guest more memory, or use fewer"));
    bench.evict(point);
    let began = Instant::now();
    let announced = prefetcher.as_ref().map_or(0, |prefetcher| {
        pages.all().take_while(|page| prefetcher.announce(page) == page.len()).count()
    });
    pages.read_all(|| ());
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    if let Some(prefetcher) = prefetcher {
        prefetcher.stop();
    }
    pages
        .measured()
        .metric("ms_per_page", ms / pages.len() as f64)
        .metric("pages", pages.len() as f64)
        .metric("pages_announced", announced as f64)
}
