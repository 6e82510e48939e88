//! The PVH protocol's start info: QEMU's description of the machine.
//!
//! Source: `include/xen/interface/hvm/start_info.h` in Linux, which is Xen's
//! `public/arch-x86/hvm/start_info.h`.

/// Start info; its address is in EBX at entry.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StartInfo {
    /// [`StartInfo::MAGIC`].
    pub magic: u32,
    /// 0, or 1: the start info then has a memory map.
    pub version: u32,
    /// Not used here.
    pub flags: u32,
    /// Number of modules.
    pub modules: u32,
    /// Address of the first [`Module`].
    pub module_list: u64,
    /// Address of the command line, ending in a null byte; 0 if there is none.
    pub command_line: u64,
    /// Address of the ACPI root pointer; 0 if there is none.
    pub rsdp: u64,
    /// Address of the first [`MemoryMapEntry`].
    pub memory_map: u64,
    /// Number of memory map entries.
    pub memory_map_entries: u32,
    /// Zero.
    pub reserved: u32,
}

impl StartInfo {
    /// "xEn3" with its highest bit set.
    pub const MAGIC: u32 = 0x336e_c578;

    /// Returns whether this is a start info with everything that the loader needs.
    pub const fn is_usable(&self) -> bool {
        self.magic == Self::MAGIC && self.version >= 1 && self.memory_map != 0
    }
}

/// A file that the VMM left in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Module {
    /// Address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Address of its own command line.
    pub command_line: u64,
    /// Zero.
    pub reserved: u64,
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MemoryMapEntry {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// As in the BIOS's E820 map: 1 is memory.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

impl MemoryMapEntry {
    /// Memory that is free to use.
    pub const RAM: u32 = 1;
}

const _: () = assert!(size_of::<StartInfo>() == 56);
const _: () = assert!(size_of::<Module>() == 32);
const _: () = assert!(size_of::<MemoryMapEntry>() == 24);
