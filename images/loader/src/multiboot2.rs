//! The multiboot2 protocol of GRUB.
//!
//! Source: the Multiboot2 Specification 2.0. It enters a 64-bit ELF file in the same state
//! as PVH does (section 3.3), with the address of its own structure in EBX.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use core::num::NonZeroU64;

use multiboot2::{BootInformation, MaybeDynSized, MemoryAreaType, MemoryMapTag, TagHeader};

use crate::error::Error;
use crate::machine::Machine;
use crate::memory;

pub use multiboot2::MAGIC;

/// Reads the boot information.
///
/// # Errors
/// It has no memory map, or its command line is not UTF-8.
pub fn machine(info: &BootInformation<'_>) -> Result<Machine, Error> {
    let map = info.memory_map_tag().ok_or(Error::StartInfo)?;
    let command_line = info.command_line_tag().map(|tag| tag.cmdline()).transpose();
    let module = info.module_tags().next();
    Ok(Machine {
        memory: memory::usable(available(map)),
        module: module.map(|module| module.start_address().into()..module.end_address().into()),
        command_line: command_line.map_err(|_| Error::CommandLine)?.unwrap_or_default().to_owned(),
        rsdp: info.rsdp_v2_tag().map(copy).or_else(|| info.rsdp_v1_tag().map(copy)),
    })
}

fn available(map: &MemoryMapTag) -> impl Iterator<Item = (u64, u64)> {
    let areas = map.memory_areas().iter();
    areas
        .filter(|area| area.typ() == MemoryAreaType::Available)
        .map(|area| (area.start_address(), area.size()))
}

/// Copies the root pointer out of its tag, whose memory the kernel may overwrite.
fn copy(tag: &impl MaybeDynSized<Header = TagHeader>) -> NonZeroU64 {
    let bytes = &tag.as_bytes()[size_of::<TagHeader>()..];
    // 36 bytes in ACPI 2.0, with the alignment of 16 that ACPI specifies.
    let copy = Box::leak(Box::new([0_u128; 3]));
    for (word, bytes) in copy.iter_mut().zip(bytes.chunks(16)) {
        let mut whole = [0; 16];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u128::from_le_bytes(whole);
    }
    NonZeroU64::new(copy.as_ptr() as u64).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use core::ptr;

    use multiboot2::{Builder, CommandLineTag, MemoryArea, ModuleTag, RsdpV1Tag, RsdpV2Tag};

    use super::*;

    fn read(builder: Builder) -> Result<Machine, Error> {
        let built = builder.build();
        // SAFETY: the builder follows the specification and aligns the structure, which lives
        // to the end of this function.
        let info = unsafe { BootInformation::load(built.as_bytes().as_ptr().cast()) };
        machine(&info.expect("the builder's information is valid"))
    }

    fn map() -> Box<MemoryMapTag> {
        MemoryMapTag::new(&[
            MemoryArea::new(0, 0x9_fc00, MemoryAreaType::Available),
            MemoryArea::new(0x10_0000, 0xff0_0000, MemoryAreaType::Available),
            MemoryArea::new(0x1000_0000, 0x1000, MemoryAreaType::AcpiAvailable),
        ])
    }

    #[test]
    fn the_machine_has_everything_from_grubs_boot_information() {
        let builder = Builder::new()
            .mmap(map())
            .cmdline(CommandLineTag::new("-- --pages 1"))
            .add_module(ModuleTag::new(0x80_0000, 0x90_0123, "app"))
            .add_module(ModuleTag::new(0xa0_0000, 0xa0_1000, "another"));
        let machine = read(builder).unwrap();
        assert_eq!(machine.memory, [0..0x9_f000, 0x10_0000..0x1000_0000]);
        assert_eq!(machine.module, Some(0x80_0000..0x90_0123));
        assert_eq!(machine.command_line, "-- --pages 1");
        assert_eq!(machine.rsdp, None);
    }

    #[test]
    fn the_memory_map_is_the_only_tag_that_is_required() {
        let machine = read(Builder::new().mmap(map())).unwrap();
        assert_eq!((machine.module, machine.command_line.as_str()), (None, ""));
        assert!(matches!(read(Builder::new()), Err(Error::StartInfo)));
    }

    #[test]
    fn the_newest_root_pointer_is_copied() {
        let old = RsdpV1Tag::new(*b"OLDOLD", 0, 0x1234_5678);
        let new = RsdpV2Tag::new(*b"NEWNEW", 2, 0, 36, 0x1_2345_6789);
        let bytes = |builder: Builder| {
            let at = read(builder.mmap(map())).unwrap().rsdp.expect("there is one").get() as usize;
            assert!(at.is_multiple_of(16));
            // SAFETY: the copy of three times 16 bytes is never freed.
            unsafe { ptr::with_exposed_provenance::<[u8; 48]>(at).read() }
        };
        let only_old = bytes(Builder::new().rsdpv1(old));
        assert_eq!(
            (&only_old[..8], &only_old[9..15], &only_old[16..20]),
            (&b"RSD PTR "[..], &b"OLDOLD"[..], &0x1234_5678_u32.to_le_bytes()[..])
        );
        let both = bytes(Builder::new().rsdpv1(old).rsdpv2(new));
        assert_eq!((&both[9..15], &both[24..32]), (&b"NEWNEW"[..], &0x1_2345_6789_u64.to_le_bytes()[..]));
    }
}
