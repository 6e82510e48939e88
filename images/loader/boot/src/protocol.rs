//! Reads what the boot loader left in memory, by the protocol it started us with.

use alloc::borrow::ToOwned;
use core::ffi::CStr;
use core::num::NonZeroU64;
use core::{ptr, slice};

use ::multiboot2::BootInformation;
use apf_loader::error::Error;
use apf_loader::machine::Machine;
use apf_loader::pvh::{MemoryMapEntry, Module, StartInfo};
use apf_loader::{memory, multiboot2};

/// Reads the machine's description.
///
/// # Errors
///
/// If there is none, or its command line is no text.
///
/// # Safety
///
/// `magic` and `info` are what `start` passes on, and the low 4 GiB are mapped.
pub unsafe fn read(magic: u32, info: u32) -> Result<Machine, Error> {
    let info = info as usize;
    match magic {
        // SAFETY: by the caller, and the magic number says what is there.
        StartInfo::MAGIC => unsafe { pvh(info) },
        multiboot2::MAGIC => {
            // SAFETY: as above.
            let info = unsafe { BootInformation::load(ptr::with_exposed_provenance(info)) };
            multiboot2::machine(&info.map_err(|_| Error::StartInfo)?)
        }
        _ => Err(Error::StartInfo),
    }
}

/// # Safety
///
/// A VMM that starts by PVH put a start info there, and the low 4 GiB are mapped.
unsafe fn pvh(start_info: usize) -> Result<Machine, Error> {
    // SAFETY: by the caller; if no VMM put it there, the magic number shows.
    let info: StartInfo = unsafe { ptr::with_exposed_provenance::<StartInfo>(start_info).read_unaligned() };
    if !info.is_usable() {
        return Err(Error::StartInfo);
    }
    // SAFETY: a start info with its magic number is the VMM's; what it points to
    // stays in place until somebody writes there, and nobody has yet.
    unsafe {
        let map: &[MemoryMapEntry] = table(info.memory_map, info.memory_map_entries);
        let ram = map.iter().filter(|entry| entry.kind == MemoryMapEntry::RAM);
        let module = table::<Module>(info.module_list, info.modules).first();
        let command_line = match info.command_line {
            0 => "",
            at => CStr::from_ptr(ptr::with_exposed_provenance(at as usize))
                .to_str()
                .map_err(|_| Error::CommandLine)?,
        };
        Ok(Machine {
            memory: memory::usable(ram.map(|entry| (entry.start, entry.size))),
            module: module.map(|module| module.start..module.start.saturating_add(module.size)),
            command_line: command_line.to_owned(),
            rsdp: NonZeroU64::new(info.rsdp),
        })
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
