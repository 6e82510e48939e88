//! The device tree for the kernel.
//!
//! On a PC without uhyve, kernel 0.11.0 reads from the device tree alone: its memory
//! (`detect_from_fdt` in `arch/x86_64/mm/physicalmem.rs`), its arguments (`env.rs`), the
//! ACPI root pointer (`env::rsdp`) and the frequency of the time-stamp counter
//! (`detect_from_fdt` in `kernel/processor.rs`). Without the root pointer it searches the
//! BIOS's memory, and for that maps pages that this loader has already mapped, which makes
//! it panic.

use alloc::format;
use alloc::vec::Vec;
use core::num::{NonZeroU32, NonZeroU64};
use core::ops::Range;

use vm_fdt::{Error, FdtWriter};

/// Content of the device tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents<'a> {
    /// Usable memory.
    pub memory: &'a [Range<u64>],
    /// The kernel's arguments, `--`, and the application's.
    pub command_line: &'a str,
    /// Address of the ACPI root pointer.
    pub rsdp: Option<NonZeroU64>,
    /// Frequency of the time-stamp counter; the kernel measures it if this is missing.
    pub tsc_khz: Option<NonZeroU32>,
}

/// Makes the device tree.
///
/// # Errors
/// `vm-fdt` refuses the content; in practice, a null character in the command line.
pub fn build(contents: &Contents<'_>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;

    let root = fdt.begin_node("")?;
    // The kernel compares this with "hermit,uefi", and panics if it is missing.
    fdt.property_string("compatible", "hermit,pvh")?;
    // Addresses and sizes are 64 bits.
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;

    let chosen = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", contents.command_line)?;
    fdt.end_node(chosen)?;

    // One node per range: the kernel reads only a node's first range.
    for range in contents.memory {
        let node = fdt.begin_node(&format!("memory@{:x}", range.start))?;
        fdt.property_string("device_type", "memory")?;
        fdt.property_array_u64("reg", &[range.start, range.end - range.start])?;
        fdt.end_node(node)?;
    }

    if let Some(rsdp) = contents.rsdp {
        let node = fdt.begin_node(&format!("hermit,rsdp@{rsdp:x}"))?;
        fdt.property_array_u64("reg", &[rsdp.get(), 1])?;
        fdt.end_node(node)?;
    }

    if let Some(khz) = contents.tsc_khz {
        let node = fdt.begin_node("hermit,tsc")?;
        fdt.property_u32("khz", khz.get())?;
        fdt.end_node(node)?;
    }

    fdt.end_node(root)?;
    fdt.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_expressions_find_every_value() {
        let memory = [0..0x9_f000, 0x10_0000..0xffe_0000, 0x1_0000_0000..0x1_4000_0000];
        let blob = build(&Contents {
            memory: &memory,
            command_line: "-ip 10.0.0.2 -- --pages 256",
            rsdp: NonZeroU64::new(0xf_5b20),
            tsc_khz: NonZeroU32::new(2_200_000),
        })
        .unwrap();

        // The kernel's expressions, copied.
        let fdt = fdt::Fdt::new(&blob).unwrap();
        assert_eq!(fdt.chosen().bootargs(), Some("-ip 10.0.0.2 -- --pages 256"));
        let found: Vec<_> = fdt
            .find_all_nodes("/memory")
            .map(|m| m.reg().unwrap().next().unwrap())
            .map(|r| r.starting_address as u64..r.starting_address as u64 + r.size.unwrap() as u64)
            .collect();
        assert_eq!(found, memory);
        let rsdp = fdt.find_node("/hermit,rsdp").unwrap().reg().unwrap().next().unwrap().starting_address;
        assert_eq!(rsdp as usize, 0xf_5b20);
        assert_eq!(
            fdt.find_node("/hermit,tsc").unwrap().property("khz").unwrap().as_usize(),
            Some(2_200_000)
        );
        assert_ne!(fdt.root().compatible().first(), "hermit,uefi");
    }

    #[test]
    fn an_unknown_value_has_no_node() {
        let blob = build(&Contents::default()).unwrap();
        let fdt = fdt::Fdt::new(&blob).unwrap();
        assert_eq!(fdt.chosen().bootargs(), Some(""));
        assert!(fdt.find_node("/hermit,rsdp").is_none());
        assert!(fdt.find_node("/hermit,tsc").is_none());
    }
}
