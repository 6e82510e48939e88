//! Usable memory, and a place in it for the image.
//!
//! Kernel 0.11.0 (`mm/mod.rs` and `arch/x86_64/mm/physicalmem.rs`) requires:
//!
//! - It treats all memory below the end of its image as occupied, and all above as free. So
//!   the image goes to the lowest free place, right above the loader, whose page tables,
//!   stack and device tree the kernel continues to use.
//! - The module lies above and becomes free memory, which is safe: the image has been copied
//!   by then.
//! - It needs as much memory above its image as there is below its end, plus some for page
//!   tables, and panics otherwise.

use core::cmp::Reverse;
use core::ops::Range;

use alloc::vec::Vec;

use crate::error::Error;

/// The kernel maps its image in pages of this size and rounds its range to them.
pub const LARGE_PAGE: u64 = 2 << 20;
const PAGE: u64 = 4 << 10;

/// Memory that the kernel needs besides its image and page tables (`init` in `mm/mod.rs`):
/// two large pages that it reserves; one that rounding may cost; and two of which nine
/// tenths, rounded down, are its smallest possible heap.
const KERNEL_RESERVE: u64 = 5 * LARGE_PAGE;

/// End of the memory that the loader's page tables map.
const MAPPED: u64 = 4 << 30;

/// The kernel's list of free memory holds 16 pieces before there is a heap to hold
/// more. UEFI may leave dozens, most of them tiny; the list also splits.
const MOST_RANGES: usize = 8;

/// Returns the usable memory, from start and size of each piece: whole pages, merged into
/// as few ranges as possible, lowest first; only the largest ranges if there are too many.
pub fn usable(map: impl Iterator<Item = (u64, u64)>) -> Vec<Range<u64>> {
    let mut pieces: Vec<_> = map
        .filter_map(|(start, size)| {
            let end = start.saturating_add(size);
            Some(start.checked_next_multiple_of(PAGE)?..end - end % PAGE)
        })
        .filter(|range| !range.is_empty())
        .collect();
    pieces.sort_by_key(|range| range.start);
    let mut usable: Vec<Range<u64>> = Vec::new();
    for piece in pieces {
        match usable.last_mut() {
            Some(last) if piece.start <= last.end => last.end = last.end.max(piece.end),
            _ => usable.push(piece),
        }
    }
    usable.sort_by_key(|range| Reverse(range.end - range.start));
    usable.truncate(MOST_RANGES);
    usable.sort_by_key(|range| range.start);
    usable
}

/// Returns whether a range lies entirely in `usable` memory that the loader has mapped.
pub fn is_usable(usable: &[Range<u64>], range: &Range<u64>) -> bool {
    range.end <= MAPPED && usable.iter().any(|piece| piece.start <= range.start && range.end <= piece.end)
}

/// Finds a place for an image of `size` bytes in `usable` memory outside the `taken`
/// ranges: at `fixed`, or at the lowest large page where it fits.
///
/// # Errors
/// [`Error::TooLarge`]: there is none, or the rest is too small for the kernel.
pub fn place(
    usable: &[Range<u64>],
    taken: &[Range<u64>],
    size: u64,
    fixed: Option<u64>,
) -> Result<Range<u64>, Error> {
    let pieces = free(usable, taken);
    let fits = |piece: &Range<u64>| {
        let start = fixed.or_else(|| piece.start.checked_next_multiple_of(LARGE_PAGE))?;
        let end = start.checked_add(size)?;
        // The kernel occupies whole large pages.
        let occupied = end.checked_next_multiple_of(LARGE_PAGE)?;
        let fits = piece.start <= start && occupied <= piece.end && leaves_enough(usable, occupied);
        fits.then_some(start..end)
    };
    pieces.iter().find_map(fits).ok_or_else(|| Error::TooLarge {
        image: size,
        memory: usable.iter().map(|range| range.end - range.start).sum(),
        largest: pieces.iter().map(|piece| piece.end - piece.start).max().unwrap_or(0),
    })
}

/// Lists the ranges that are `usable`, mapped, and not `taken`, lowest first.
fn free(usable: &[Range<u64>], taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut taken = taken.to_vec();
    taken.sort_by_key(|range| range.start);
    let mut free = Vec::new();
    for range in usable {
        let (mut start, end) = (range.start, range.end.min(MAPPED));
        for taken in taken.iter().filter(|taken| taken.start < end && taken.end > range.start) {
            free.push(start..taken.start);
            start = start.max(taken.end);
        }
        free.push(start..end);
    }
    free.retain(|piece| !piece.is_empty());
    free
}

/// Returns whether the kernel finds enough memory above an image that ends at `end`.
fn leaves_enough(usable: &[Range<u64>], end: u64) -> bool {
    let above: u64 = usable.iter().map(|range| range.end.saturating_sub(range.start.max(end))).sum();
    // Its page tables: 8 bytes per 4 KiB page, rounded up generously.
    above >= end + KERNEL_RESERVE + above / 256
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a slice of one range is intended
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// QEMU's map of a guest with this much memory.
    fn machine(memory: u64) -> Vec<Range<u64>> {
        usable([(0, 0x9_fc00), (MIB, memory - MIB - 0x2_0000)].into_iter())
    }

    #[test]
    fn usable_memory_is_whole_pages_in_order() {
        let map = [(0x20_0800, 0x1_0000), (0x1000, 0x1800), (0x8000, 0x800)];
        assert_eq!(usable(map.into_iter()), [0x1000..0x2000, 0x20_1000..0x21_0000]);
    }

    #[test]
    fn adjacent_pieces_are_merged() {
        let map = [(0x5000, 0x1000), (0x1000, 0x2000), (0x3000, 0x2000), (0x8000, 0x1000)];
        assert_eq!(usable(map.into_iter()), [0x1000..0x6000, 0x8000..0x9000]);
    }

    #[test]
    fn usable_memory_has_no_more_ranges_than_the_kernel_can_hold() {
        // Every second page free, one piece larger than the others.
        let scattered = (1..100).map(|page| (page * 0x2000, 0x1000)).chain([(MIB, MIB)]);
        let usable = usable(scattered);
        assert_eq!((usable.len(), usable.last()), (MOST_RANGES, Some(&(MIB..2 * MIB))));
        assert!(usable.is_sorted_by_key(|range| range.start));
    }

    #[test]
    fn a_map_entry_that_ends_beyond_the_address_space_is_cut_off() {
        assert_eq!(usable([(0x1000, u64::MAX)].into_iter()), [0x1000..u64::MAX - 0xfff]);
        assert_eq!(usable([(u64::MAX, 1)].into_iter()), []);
    }

    #[test]
    fn a_file_is_usable_only_where_there_is_memory() {
        let machine = machine(16 * MIB);
        assert!(is_usable(&machine, &(4 * MIB..15 * MIB)));
        assert!(!is_usable(&machine, &(4 * MIB..17 * MIB)));
        assert!(!is_usable(&[0..8 << 30], &(4 << 30..5 << 30)));
    }

    #[test]
    fn an_image_is_placed_right_above_the_loader() {
        let taken = [MIB..MIB + 0x5_0000, 240 * MIB..250 * MIB];
        assert_eq!(place(&machine(256 * MIB), &taken, 5 * MIB, None).unwrap(), 2 * MIB..7 * MIB);
    }

    #[test]
    fn a_loader_beyond_its_large_page_pushes_the_image_up() {
        let taken = [MIB..2 * MIB + 1];
        assert_eq!(place(&machine(256 * MIB), &taken, MIB, None).unwrap().start, 4 * MIB);
    }

    #[test]
    fn an_image_never_overlaps_the_module() {
        // 2..10 MiB is free, but too small, so the image goes above the module.
        let taken = [MIB..2 * MIB, 10 * MIB..13 * MIB];
        assert_eq!(place(&machine(256 * MIB), &taken, 9 * MIB, None).unwrap().start, 14 * MIB);
        // The kernel would occupy the whole large page in which the module starts.
        let taken = [MIB..2 * MIB, 11 * MIB..13 * MIB];
        assert_eq!(place(&machine(256 * MIB), &taken, 9 * MIB, None).unwrap().start, 14 * MIB);
    }

    #[test]
    fn a_fixed_image_gets_its_place_or_none() {
        let taken = [MIB..2 * MIB, 200 * MIB..201 * MIB];
        assert_eq!(place(&machine(256 * MIB), &taken, MIB, Some(4 * MIB)).unwrap(), 4 * MIB..5 * MIB);
        assert!(place(&machine(256 * MIB), &taken, MIB, Some(MIB)).is_err());
        assert!(place(&machine(256 * MIB), &taken, MIB, Some(200 * MIB)).is_err());
        assert!(place(&machine(256 * MIB), &taken, MIB, Some(300 * MIB)).is_err());
    }

    #[test]
    fn too_large_names_the_largest_free_range() {
        let taken = [MIB..2 * MIB, 60 * MIB..63 * MIB];
        let error = place(&machine(64 * MIB), &taken, 100 * MIB, None).unwrap_err();
        let Error::TooLarge { image, largest, .. } = error else { panic!("{error}") };
        assert_eq!((image, largest), (100 * MIB, 58 * MIB));
        // It fits, but leaves too little memory for the kernel.
        assert!(place(&machine(64 * MIB), &taken, 32 * MIB, None).is_err());
        // A size beyond the address space.
        assert!(place(&machine(64 * MIB), &taken, u64::MAX - 7, None).is_err());
    }
}
