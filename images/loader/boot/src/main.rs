//! The loader on the machine: reads what was left in memory, loads the image, enters it.
//!
//! | module | holds |
//! |---|---|
//! | `start` | from the 32-bit entries to long mode; page tables and stacks |
//! | `protocol` | what the boot loader left in memory |
//! | `place` | the loader's own place in memory, and memory that it may write to |
//! | `tsc` | how fast the time stamp counter runs |
//! | `heap` | memory for the device tree and what leads to it |
//! | `console` | the serial line, and the way out |

#![no_std]
#![no_main]

extern crate alloc;

mod console;
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

/// Set while `hermit-entry` reads the image: a panic then is the image's fault.
static READING_IMAGE: AtomicBool = AtomicBool::new(false);

/// What a kernel is entered with.
struct Start {
    entry: u64,
    boot_info: &'static RawBootInfo,
}

/// Called once by `start`, with what the boot protocol had in EBX and its magic number.
extern "C" fn loader_main(info: u32, magic: u32) -> ! {
    console::init();
    // SAFETY: passed on by `start`, which has mapped all of the low 4 GiB.
    let machine = unsafe { protocol::read(magic, info) };
    match machine.and_then(|machine| load(&machine)) {
        // SAFETY: `load` loaded and relocated the image that `start` belongs to.
        Ok(start) => unsafe { start::enter_kernel(start.entry, start.boot_info) },
        Err(error) => console::fail(error.exit_code(), format_args!("{error}")),
    }
}

fn load(machine: &Machine) -> Result<Start, Error> {
    // What is given with -initrd takes the place of what is bundled.
    let file_range = machine.module.clone().or_else(place::bundled).ok_or(Error::NoModule)?;
    // QEMU takes a bundle that is larger than the memory, and drops what does not fit.
    if !memory::is_usable(&machine.memory, &file_range) {
        return Err(Error::NoRoomForFile { start: file_range.start, end: file_range.end });
    }
    // SAFETY: usable memory, which nobody has written to since the boot loader.
    let file = unsafe { place::file(&file_range) };
    READING_IMAGE.store(true, Ordering::Relaxed);
    let object = image::parse(file)?;

    let taken = [place::own_range(), file_range];
    let place = memory::place(&machine.memory, &taken, object.mem_size() as u64, object.start_addr())?;
    // SAFETY: `place` is free memory below 4 GiB, hence mapped; neither the loader
    // nor the module is in it, and nobody else runs.
    let target = unsafe { place::borrow_free(place.clone()) };
    let loaded = object.load_kernel(target, place.start);
    READING_IMAGE.store(false, Ordering::Relaxed);

    let contents = fdt::Contents {
        memory: &machine.memory,
        command_line: &machine.command_line,
        rsdp: machine.rsdp,
        tsc_khz: tsc::khz(),
    };
    // Leaked: the kernel keeps using it.
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
            format_args!("the image file is malformed: hermit-entry says: {}", info.message()),
        )
    }
    console::fail(ExitCode::Internal, format_args!("internal: {info}"))
}
