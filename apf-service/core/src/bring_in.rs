//! Which addresses to touch so that a range of memory is in.
#![forbid(unsafe_code)]

/// Size of a page in bytes.
pub const PAGE: usize = 4096;

/// Returns one address in each page of the `length` bytes from `start`: `start`, and then the first
/// of each further page.
// Inlined, since the caller must not leave its own section (see the kernel side's `entries`).
#[inline(always)]
pub fn each_page(start: usize, length: usize) -> impl Iterator<Item = usize> + Clone {
    let end = start.saturating_add(length);
    let mut next = start;
    core::iter::from_fn(move || {
        let at = next;
        next = (at | (PAGE - 1)).saturating_add(1);
        (at < end).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn touched(start: usize, length: usize) -> Vec<usize> {
        each_page(start, length).collect()
    }

    #[test]
    fn each_page_of_a_range_is_touched_once_and_no_other() {
        assert_eq!(touched(0x1000, 0), []);
        assert_eq!(touched(0x1fff, 1), [0x1fff]);
        assert_eq!(touched(0x1fff, 2), [0x1fff, 0x2000]);
        assert_eq!(touched(0x1000, 0x1000), [0x1000]);
        assert_eq!(touched(0x1008, 0x2ff8), [0x1008, 0x2000, 0x3000]);
        assert_eq!(touched(0x1008, 0x2ff9), [0x1008, 0x2000, 0x3000, 0x4000]);
    }

    #[test]
    fn a_range_up_to_the_end_of_all_addresses_has_an_end() {
        assert_eq!(touched(usize::MAX - 1, 9), [usize::MAX - 1]);
        assert_eq!(touched(usize::MAX - PAGE, usize::MAX), [usize::MAX - PAGE, usize::MAX - PAGE + 1]);
    }
}
