//! The checks of an image file.
//!
//! `hermit-entry` recognises a Hermit image, but panics on a damaged one. The usual
//! mistakes, another file or half a file, are found here first. A file that was made to be
//! wrong can still cause the panic, which the binary reports as malformed.

use goblin::elf64::header::{EI_CLASS, ELFCLASS64, ELFMAG, EM_X86_64, Header, SIZEOF_EHDR};
use goblin::elf64::program_header::{PT_LOAD, ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::section_header::SIZEOF_SHDR;
use hermit_entry::elf::KernelObject;

use crate::error::Error;

/// Checks a file and parses it.
///
/// # Errors
/// The file is not a Hermit image, or is damaged.
pub fn parse(file: &[u8]) -> Result<KernelObject<'_>, Error> {
    check(file)?;
    KernelObject::parse(file).map_err(Error::NotHermit)
}

fn check(file: &[u8]) -> Result<(), Error> {
    let size = file.len() as u64;
    let within = |what, start: u64, len: u64| {
        let end =
            start.checked_add(len).ok_or(Error::Malformed("a part of it ends beyond the address space"))?;
        if end <= size { Ok(()) } else { Err(Error::Truncated { what, end, size }) }
    };

    if !file.starts_with(ELFMAG) {
        return Err(Error::NotElf { size });
    }
    within("headers", 0, SIZEOF_EHDR as u64)?;
    let header: &Header =
        plain::from_bytes(file).map_err(|_| Error::Malformed("it is not aligned in memory"))?;
    if header.e_machine != EM_X86_64 || header.e_ident[EI_CLASS] != ELFCLASS64 {
        return Err(Error::WrongMachine { machine: header.e_machine, class: header.e_ident[EI_CLASS] });
    }

    within("program headers", header.e_phoff, u64::from(header.e_phnum) * SIZEOF_PHDR as u64)?;
    within("section headers", header.e_shoff, u64::from(header.e_shnum) * SIZEOF_SHDR as u64)?;
    if !header.e_phoff.is_multiple_of(8) || !header.e_shoff.is_multiple_of(8) {
        return Err(Error::Malformed("its header tables are not aligned"));
    }
    let segments: &[ProgramHeader] =
        plain::slice_from_bytes_len(&file[header.e_phoff as usize..], header.e_phnum.into())
            .map_err(|_| Error::Malformed("its program headers are not readable"))?;
    for segment in segments {
        within("segments", segment.p_offset, segment.p_filesz)?;
        if segment.p_type == PT_LOAD && segment.p_filesz > segment.p_memsz {
            return Err(Error::Malformed("a segment is larger in the file than in memory"));
        }
    }

    let mut ends = segments.iter().filter(|s| s.p_type == PT_LOAD).map(|s| (s.p_vaddr, s.p_memsz));
    let Some((first, mut last)) = ends.next().map(|(start, size)| (start, start.checked_add(size))) else {
        return Err(Error::Malformed("it has no segment to load"));
    };
    for (start, size) in ends {
        // `hermit-entry` assumes that the first is the lowest and the last the highest.
        if last.is_none_or(|last| start < last) || start < first {
            return Err(Error::Malformed("its segments overlap or are not in order"));
        }
        last = start.checked_add(size);
    }
    last.map(|_| ()).ok_or(Error::Malformed("a segment ends beyond the address space"))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::mem::offset_of;

    use super::*;

    /// A file with one segment, with QEMU's alignment.
    #[repr(C, align(8))]
    struct File([u8; 0x400]);

    fn file() -> File {
        let mut file = File([0; 0x400]);
        let mut put = |at: usize, bytes: &[u8]| file.0[at..][..bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01\xff");
        put(offset_of!(Header, e_type), &3_u16.to_le_bytes());
        put(offset_of!(Header, e_machine), &EM_X86_64.to_le_bytes());
        put(offset_of!(Header, e_phoff), &(SIZEOF_EHDR as u64).to_le_bytes());
        put(offset_of!(Header, e_phnum), &1_u16.to_le_bytes());
        put(SIZEOF_EHDR + offset_of!(ProgramHeader, p_type), &PT_LOAD.to_le_bytes());
        put(SIZEOF_EHDR + offset_of!(ProgramHeader, p_filesz), &0x400_u64.to_le_bytes());
        put(SIZEOF_EHDR + offset_of!(ProgramHeader, p_memsz), &0x1000_u64.to_le_bytes());
        file
    }

    #[test]
    fn a_complete_file_passes_and_every_shorter_one_is_truncated() {
        let file = file();
        check(&file.0).unwrap();
        for len in 4..0x400 {
            assert!(matches!(check(&file.0[..len]), Err(Error::Truncated { .. })), "{len}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_not_elf() {
        let others: [Vec<u8>; 3] = [vec![], b"\x7fEL".to_vec(), b"#!/bin/sh\necho hello\n".to_vec()];
        for other in others {
            assert!(matches!(check(&other), Err(Error::NotElf { .. })));
        }
    }

    #[test]
    fn an_elf_file_of_another_machine_is_refused() {
        let mut file = file();
        file.0[18] = 183; // aarch64
        assert!(matches!(check(&file.0), Err(Error::WrongMachine { machine: 183, class: 2 })));
    }

    #[test]
    fn the_check_never_panics_on_a_single_wrong_byte_in_the_headers() {
        for at in 0..SIZEOF_EHDR + SIZEOF_PHDR {
            for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
                let mut file = file();
                file.0[at] = value;
                let _ = check(&file.0);
            }
        }
    }

    #[test]
    fn an_elf_file_of_another_system_is_not_hermit() {
        assert!(matches!(parse(&file().0), Err(Error::NotHermit(_))));
    }
}
