//! The loader on the machine: reads the boot loader's data, loads the image, enters it.
//!
//! | module | holds |
//! |---|---|
//! | `start` | from the 32-bit entries to long mode; page tables and stacks |
//! | `enter` | the jump to the kernel |
//! | `protocol` | the boot loader's data in memory |
//! | `place` | memory ranges: the loader's own, the image's file, free memory |
//! | `tsc` | the frequency of the time-stamp counter |
//! | `heap` | memory for the device tree and its writer |
//! | `console` | the serial line, and the end of the VM with an exit code |

#![no_std]
#![no_main]

extern crate alloc;

mod console;
mod enter;
mod heap;
mod place;
mod protocol;
mod start;
mod tsc;

use alloc::boxed::Box;
use core::num::{NonZeroU16, NonZeroU64};
use core::sync::atomic::{AtomicBool, Ordering};

use apf_loader::error::{Error, ExitCode};
use apf_loader::machine::Machine;
use apf_loader::{fdt, image, memory};
use hermit_entry::boot_info::{BootInfo, HardwareInfo, PlatformInfo, RawBootInfo};

/// Set while `hermit-entry` reads the image: a panic is then caused by the image.
static READING_IMAGE: AtomicBool = AtomicBool::new(false);

/// Arguments of the jump to the kernel.
struct Start {
    entry: u64,
    boot_info: &'static RawBootInfo,
}

/// Main function, called once by `start` with EBX and the magic number of the boot protocol.
extern "C" fn loader_main(info: u32, magic: u32) -> ! {
    console::init();
    // SAFETY: both values are from `start`, which has mapped all of the low 4 GiB.
    let machine = unsafe { protocol::read(magic, info) };
    match machine.and_then(|machine| load(&machine)) {
        // SAFETY: `load` has loaded and relocated the image that `start` describes.
        Ok(start) => unsafe { enter::enter_kernel(start.entry, start.boot_info) },
        Err(error) => console::fail(error.exit_code(), format_args!("{error}")),
    }
}

fn load(machine: &Machine) -> Result<Start, Error> {
    // A file passed with -initrd has priority over a bundled one.
    let file_range = machine.module.clone().or_else(place::bundled).ok_or(Error::NoModule)?;
    // QEMU accepts a bundle larger than the memory, and drops the rest.
    if !memory::is_usable(&machine.memory, &file_range) {
        return Err(Error::NoRoomForFile { start: file_range.start, end: file_range.end });
    }
    // SAFETY: usable memory, not written since the boot loader.
    let file = unsafe { place::file(&file_range) };
    READING_IMAGE.store(true, Ordering::Relaxed);
    let object = image::parse(file)?;

    let taken = [place::own_range(), file_range];
    let place = memory::place(&machine.memory, &taken, object.mem_size() as u64, object.start_addr())?;
    // SAFETY: `place` is free memory below 4 GiB, hence mapped; it contains neither the
    // loader nor the module, and no other processor runs.
    let target = unsafe { place::borrow_free(place.clone()) };
    let loaded = object.load_kernel(target, place.start);
    READING_IMAGE.store(false, Ordering::Relaxed);

    let contents = fdt::Contents {
        memory: &machine.memory,
        command_line: &machine.command_line,
        rsdp: machine.rsdp,
        tsc_khz: tsc::khz(),
    };
    // Leaked: the kernel continues to use it.
    let tree = fdt::build(&contents).map_err(Error::Fdt)?.leak();
    let highest = machine.memory.last().map_or(place.end, |range| range.end);
    let boot_info = BootInfo {
        hardware_info: HardwareInfo {
            phys_addr_range: 0..highest,
            serial_port_base: NonZeroU16::new(console::PORT),
            device_tree: NonZeroU64::new(tree.as_ptr() as u64),
        },
        load_info: loaded.load_info,
        platform_info: PlatformInfo::Fdt,
    };
    Ok(Start { entry: loaded.entry_point, boot_info: Box::leak(Box::new(boot_info.into())) })
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if READING_IMAGE.load(Ordering::Relaxed) {
        console::fail(
            ExitCode::Malformed,
            format_args!("the image file is malformed: hermit-entry: {}", info.message()),
        )
    }
    console::fail(ExitCode::Internal, format_args!("internal: {info}"))
}
