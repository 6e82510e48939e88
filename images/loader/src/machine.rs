//! What QEMU left in memory, and the loader's own place in it.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::num::NonZeroU64;
use core::ops::Range;
use core::{ptr, slice};

use apf_loader::error::Error;
use apf_loader::memory;
use apf_loader::pvh::{MemoryMapEntry, Module, StartInfo};

/// The machine, as the start info describes it.
pub struct Machine {
    /// Usable memory, lowest first.
    pub memory: Vec<Range<u64>>,
    /// The file given with `-initrd`.
    pub module: Option<&'static [u8]>,
    /// What was given with `-append`.
    pub command_line: &'static str,
    /// The ACPI root pointer.
    pub rsdp: Option<NonZeroU64>,
}

impl Machine {
    /// Reads the start info and what it leads to.
    ///
    /// # Errors
    ///
    /// If it is none, or its command line is no text.
    ///
    /// # Safety
    ///
    /// `start_info` is what the VMM had in EBX at entry, and the low 4 GiB are mapped.
    pub unsafe fn read(start_info: u64) -> Result<Self, Error> {
        // SAFETY: by the caller; if no VMM put it there, the magic number shows.
        let info: StartInfo =
            unsafe { ptr::with_exposed_provenance::<StartInfo>(start_info as usize).read_unaligned() };
        if !info.is_usable() {
            return Err(Error::StartInfo);
        }
        // SAFETY: a start info with its magic number is the VMM's; what it points to
        // stays in place until somebody writes there, and the loader does not.
        unsafe {
            let map: &[MemoryMapEntry] = table(info.memory_map, info.memory_map_entries);
            let module = table::<Module>(info.module_list, info.modules).first();
            Ok(Self {
                memory: memory::usable(map),
                module: module.map(|module| table(module.start, module.size as u32)),
                command_line: match info.command_line {
                    0 => "",
                    at => CStr::from_ptr(ptr::with_exposed_provenance(at as usize))
                        .to_str()
                        .map_err(|_| Error::CommandLine)?,
                },
                rsdp: NonZeroU64::new(info.rsdp),
            })
        }
    }
}

/// The `count` values at an address.
///
/// # Safety
///
/// They are there, below 4 GiB, and nobody writes to them.
unsafe fn table<T>(address: u64, count: u32) -> &'static [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: by the caller.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(address as usize), count as usize) }
}

/// The memory that the loader itself is in.
pub fn own_range() -> Range<u64> {
    unsafe extern "C" {
        static pvh_entry: u8;
        static loader_end: u8;
    }
    // The note precedes the entry, in the same page.
    let start = (&raw const pvh_entry) as u64 & !0xfff;
    start..(&raw const loader_end) as u64
}

/// Free memory, to be written.
///
/// # Safety
///
/// The range is memory below 4 GiB that nobody else uses.
pub unsafe fn borrow_free(range: Range<u64>) -> &'static mut [MaybeUninit<u8>] {
    let start = ptr::with_exposed_provenance_mut(range.start as usize);
    // SAFETY: by the caller; bytes that may be uninitialised have no further rules.
    unsafe { slice::from_raw_parts_mut(start, (range.end - range.start) as usize) }
}
