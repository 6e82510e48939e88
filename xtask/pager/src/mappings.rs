//! The kind of memory that the guest's RAM is, from `/proc/self/smaps`.

use crate::error::Error;
use crate::ram::{GuestRam, Piece};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// `/proc/self/smaps`, opened before a sandbox of the VMM may hide `/proc`.
#[derive(Debug)]
pub struct Smaps(File);

impl Smaps {
    pub fn open() -> Result<Self, Error> {
        File::open("/proc/self/smaps").map(Self).map_err(Error::NoSmaps)
    }

    /// Checks that all of `ram` is memory that the pager can page.
    ///
    /// # Errors
    /// A range is not; the error names the first one.
    pub fn check(&self, ram: &GuestRam) -> Result<(), Error> {
        check(ram, &mappings(&self.read().map_err(Error::NoSmaps)?))
    }

    fn read(&self) -> io::Result<String> {
        let mut text = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.0.read_at(&mut buffer, text.len() as u64)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                read => text.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// A mapping of the VMM.
#[derive(Debug, PartialEq)]
struct Mapping {
    range: Range<usize>,
    /// Reason why it cannot be paged.
    obstacle: Option<&'static str>,
}

/// Parses the lines `7f00-7f80 rw-p 00000000 00:00 0 …`, each with its `VmFlags:`.
fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if let Some(mapping) = mappings.last_mut() {
                mapping.obstacle = flags.split_whitespace().find_map(obstacle).or(mapping.obstacle);
            }
        } else if let Some(mapping) = header(line) {
            mappings.push(mapping);
        }
    }
    mappings
}

fn header(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    let inode = words.nth(3)?;
    Some(Mapping { range, obstacle: (inode != "0").then_some("a file's") })
}

/// Returns the reason why memory with this flag cannot be paged
/// (Documentation/filesystems/proc.rst).
fn obstacle(flag: &str) -> Option<&'static str> {
    match flag {
        "ht" => Some("in huge pages of hugetlbfs"),
        "sh" => Some("shared (QEMU: memory-backend-memfd, memory-backend-file or share=on)"),
        "lo" => Some("locked (QEMU: -overcommit mem-lock=on)"),
        _ => None,
    }
}

fn check(ram: &GuestRam, mappings: &[Mapping]) -> Result<(), Error> {
    for piece in ram.pieces() {
        let Piece { guest, start, .. } = *piece;
        let end = piece.range().end;
        let not_paged = |from: usize, to: usize, why| {
            let guest = |address: usize| guest + (address - start) as u64;
            Err(Error::NotPageable { start: guest(from), end: guest(to), why })
        };
        let mut covered = start;
        for mapping in
            mappings.iter().filter(|mapping| mapping.range.end > start && mapping.range.start < end)
        {
            if mapping.range.start > covered {
                break;
            }
            if let Some(why) = mapping.obstacle {
                return not_paged(mapping.range.start.max(start), mapping.range.end.min(end), why);
            }
            covered = mapping.range.end;
        }
        if covered < end {
            return not_paged(covered, end, "not mapped");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 rw-p 00000000 00:00 0 \nSize: 8 kB\nVmFlags: rd wr mr mw me ac sd \n\
3000-4000 rw-p 00000000 00:00 0    [heap]\nVmFlags: rd wr mr mw me lo \n\
5000-6000 rw-s 00000000 00:01 17    /memfd:ram (deleted)\nVmFlags: rd wr sh mr \n\
6000-7000 rw-p 00000000 00:01 18    /ram\nVmFlags: rd wr mr \n";

    #[test]
    fn memory_that_cannot_be_paged_is_named_with_its_guest_addresses() {
        let mappings = mappings(SMAPS);
        assert_eq!(mappings.len(), 4);
        let checked = |start: usize, end: usize| {
            let mut ram = GuestRam::empty();
            ram.add(Piece { guest: 0x10_0000 + start as u64, start, bytes: end - start });
            check(&ram, &mappings).map_err(|error| error.to_string())
        };
        assert_eq!(checked(0x1000, 0x3000), Ok(()));
        for (range, reason) in [
            (0x2000..0x4000, "0x103000..0x104000: it is locked"),
            (0x5000..0x6000, "0x105000..0x106000: it is shared"),
            (0x6000..0x7000, "0x106000..0x107000: it is a file's"),
            (0x6000..0x9000, "a file's"),
            (0x8000..0x9000, "0x108000..0x109000: it is not mapped"),
            (0x1000..0x5000, "locked"),
        ] {
            let error = checked(range.start, range.end).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
