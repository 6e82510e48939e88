//! The boot loader's data in memory, read by the protocol that started the loader.

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
/// There is none, or its command line is not UTF-8.
///
/// # Safety
/// `magic` and `info` are the values that `start` passes on, and the low 4 GiB are mapped.
pub unsafe fn read(magic: u32, info: u32) -> Result<Machine, Error> {
    let info = info as usize;
    match magic {
        // SAFETY: the caller's obligation; the magic number identifies the structure.
        StartInfo::MAGIC => unsafe { pvh(info) },
        multiboot2::MAGIC => {
            // SAFETY: as above.
            let info = unsafe { BootInformation::load(ptr::with_exposed_provenance(info)) };
            multiboot2::machine(&info.map_err(|_| Error::StartInfo)?)
        }
        _ => Err(Error::StartInfo),
    }
}

/// Reads the PVH start info.
///
/// # Safety
/// `start_info` is the address in EBX at a PVH entry, and the low 4 GiB are mapped.
unsafe fn pvh(start_info: usize) -> Result<Machine, Error> {
    // SAFETY: mapped, by the caller; the magic number shows whether it is a start info.
    let info: StartInfo = unsafe { ptr::with_exposed_provenance::<StartInfo>(start_info).read_unaligned() };
    if !info.is_usable() {
        return Err(Error::StartInfo);
    }
    // SAFETY: a start info with its magic number is the VMM's, and the tables and strings
    // that it points to have not been overwritten yet.
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

/// Returns the `count` values at an address.
///
/// # Safety
/// The values exist, below 4 GiB, and are never written again.
unsafe fn table<T>(address: u64, count: u32) -> &'static [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's obligation.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(address as usize), count as usize) }
}
