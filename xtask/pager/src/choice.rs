//! Choice of the pages that an eviction takes, when it does not take all.

use rand::Rng;
use rand::rngs::SmallRng;
use std::ops::Range;

/// Lists the pages of `parts`, each once, in ascending order.
pub fn pages_of(parts: &[Range<usize>]) -> Vec<usize> {
    let mut pages: Vec<usize> = parts.iter().cloned().flatten().collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// Returns `share` of `all`, rounded to the nearest number.
fn count(all: usize, share: f64) -> usize {
    ((all as f64 * share).round() as usize).min(all)
}

/// Chooses exactly `share` of `pages`, every choice equally likely, and keeps their order.
pub fn at_random(pages: &[usize], share: f64, rng: &mut SmallRng) -> Vec<usize> {
    // Selection sampling: each page is taken with probability wanted / left.
    let mut wanted = count(pages.len(), share);
    let mut chosen = Vec::with_capacity(wanted);
    for (index, &page) in pages.iter().enumerate() {
        if rng.random_range(0..pages.len() - index) < wanted {
            chosen.push(page);
            wanted -= 1;
        }
    }
    chosen
}

/// Chooses the `share` of `pages` with the smallest values of `used`, among equal values the
/// first ones, in ascending order.
pub fn least_recent(pages: &[usize], share: f64, used: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut chosen = pages.to_vec();
    chosen.sort_by_key(|&page| used(page));
    chosen.truncate(count(pages.len(), share));
    chosen.sort_unstable();
    chosen
}

/// Merges ascending pages into ranges without gaps.
pub fn runs(pages: &[usize]) -> Vec<Range<usize>> {
    let neighbours = pages.chunk_by(|one, next| one + 1 == *next);
    neighbours.map(|run| run[0]..run[run.len() - 1] + 1).collect()
}

/// Cuts ascending `runs` and groups them: each group lies within `size` pages, and before the
/// `end_for` its first page.
pub fn windows(
    runs: &[Range<usize>],
    size: usize,
    end_for: impl Fn(usize) -> usize,
) -> Vec<Vec<Range<usize>>> {
    let (mut windows, mut limit) = (Vec::<Vec<_>>::new(), 0);
    for run in runs {
        let mut start = run.start;
        while start < run.end {
            if start >= limit {
                limit = end_for(start).min(start + size);
                windows.push(Vec::new());
            }
            let end = run.end.min(limit);
            windows.last_mut().expect("a window was pushed").push(start..end);
            start = end;
        }
    }
    windows
}

/// Lists those of the ascending `pages` that are not in the ascending `chosen`.
pub fn others(pages: &[usize], chosen: &[usize]) -> Vec<usize> {
    pages.iter().copied().filter(|page| chosen.binary_search(page).is_err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn chosen(all: usize, share: f64, seed: u64) -> Vec<usize> {
        let pages: Vec<usize> = (100..100 + all).collect();
        at_random(&pages, share, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn a_random_choice_has_the_exact_share_and_depends_on_the_seed() {
        assert_eq!(chosen(4096, 0.25, 1).len(), 1024);
        assert_eq!(chosen(4096, 0.25, 1), chosen(4096, 0.25, 1));
        assert_ne!(chosen(4096, 0.25, 1), chosen(4096, 0.25, 2));
        assert_eq!(chosen(7, 1.0, 1), (100..107).collect::<Vec<_>>());
        assert_eq!((chosen(7, 0.0, 1).len(), chosen(0, 0.5, 1).len()), (0, 0));
    }

    #[test]
    fn a_random_choice_takes_every_page_with_equal_probability() {
        let mut taken = [0; 8];
        for seed in 0..4000 {
            chosen(8, 0.25, seed).into_iter().for_each(|page| taken[page - 100] += 1);
        }
        assert!(taken.iter().all(|count| (900..1100).contains(count)), "{taken:?}");
    }

    #[test]
    fn the_least_recent_pages_are_chosen_and_among_equals_the_first() {
        let used = |page| [5, 0, 7, 0, 1][page];
        assert_eq!(least_recent(&[0, 1, 2, 3, 4], 0.6, used), [1, 3, 4]);
        assert_eq!(least_recent(&[0, 1, 2, 3, 4], 0.2, used), [1]);
        assert_eq!(least_recent(&[0, 2], 1.0, used), [0, 2]);
    }

    #[test]
    fn pages_and_ranges_are_converted_into_each_other() {
        assert_eq!(pages_of(&[5..7, 1..3, 2..3]), [1, 2, 5, 6]);
        assert_eq!(runs(&[1, 2, 5, 6, 9]), [1..3, 5..7, 9..10]);
        assert_eq!(runs(&[]), [] as [Range<usize>; 0]);
        assert_eq!(others(&[1, 2, 5, 6], &[2, 6]), [1, 5]);
    }

    #[test]
    fn windows_hold_runs_that_are_close_and_in_one_piece() {
        let piece = |page| if page < 20 { 20 } else { 40 };
        let windows_of = |runs| format!("{:?}", windows(runs, 8, piece));
        assert_eq!(
            windows_of(&[1..3, 5..12, 18..30]),
            "[[1..3, 5..9], [9..12], [18..20], [20..28], [28..30]]"
        );
        assert_eq!(windows_of(&[]), "[]");
    }
}
