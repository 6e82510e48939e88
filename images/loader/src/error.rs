//! The errors, with messages for the user, and the exit code of each.

use goblin::elf64::header::EM_X86_64;
use hermit_entry::elf::ParseKernelError;

/// Exit codes, written to QEMU's `isa-debug-exit` port. QEMU then exits with
/// `code * 2 + 1`, the number in each line.
///
/// Codes start at 16 because Hermit itself uses 0 (failed) and 1 (succeeded) at its
/// own exit, with 1 and 3 as QEMU's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitCode {
    /// 33: there is no module and nothing is bundled.
    NoModule = 16,
    /// 35: the module is not an ELF file.
    NotElf = 17,
    /// 37: the module is for another machine, or not 64-bit.
    WrongMachine = 18,
    /// 39: the module is an x86-64 ELF file, but not a Hermit image of this boot protocol.
    NotHermit = 19,
    /// 41: the module is shorter than its headers say.
    Truncated = 20,
    /// 43: the module contradicts itself.
    Malformed = 21,
    /// 45: there is no free memory of the image's size.
    TooLarge = 22,
    /// 47: the command line is not UTF-8.
    CommandLine = 23,
    /// 49: the loader was started neither by PVH nor by multiboot2.
    StartInfo = 24,
    /// 51: the processor has no 64-bit mode.
    NoLongMode = 25,
    /// 53: a bug in the loader.
    Internal = 26,
}

/// The reason why the image was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`ExitCode::NoModule`].
    #[error("no image: pass the application's ELF to QEMU with -initrd, to GRUB with module2")]
    NoModule,
    /// See [`ExitCode::NotElf`].
    #[error("the image file ({size} bytes) is not an ELF file")]
    NotElf {
        /// Bytes in the file.
        size: u64,
    },
    /// See [`ExitCode::WrongMachine`].
    #[error(
        "the image file is an ELF file, but not for x86-64 (machine {machine}, expected {EM_X86_64}; class {class}, expected 2)"
    )]
    WrongMachine {
        /// `e_machine`.
        machine: u16,
        /// `EI_CLASS`.
        class: u8,
    },
    /// See [`ExitCode::NotHermit`].
    #[error("the image file is not a Hermit image that this loader can start: {0}")]
    NotHermit(ParseKernelError),
    /// See [`ExitCode::Truncated`].
    #[error("the image file is truncated: its {what} end at byte {end}, but the file has only {size} bytes")]
    Truncated {
        /// Part of the file.
        what: &'static str,
        /// Offset of the end of that part.
        end: u64,
        /// Bytes in the file.
        size: u64,
    },
    /// See [`ExitCode::Malformed`].
    #[error("the image file is malformed: {0}")]
    Malformed(&'static str),
    /// See [`ExitCode::TooLarge`].
    #[error(
        "the image does not fit: it needs {} KiB of the guest's {} KiB of memory (largest free range: {} KiB), and \
         Hermit needs the same amount again and about 10 MiB; use a larger -m",
        image >> 10, memory >> 10, largest >> 10
    )]
    TooLarge {
        /// Bytes that the image takes when loaded.
        image: u64,
        /// Bytes of memory in all.
        memory: u64,
        /// Bytes in the largest free range.
        largest: u64,
    },
    /// See [`ExitCode::TooLarge`].
    #[error(
        "the image file does not fit: its place is {start:#x} to {end:#x}, where this machine has no memory; use a \
         larger -m"
    )]
    NoRoomForFile {
        /// First address.
        start: u64,
        /// First address after it.
        end: u64,
    },
    /// See [`ExitCode::CommandLine`].
    #[error("the command line is not UTF-8")]
    CommandLine,
    /// See [`ExitCode::StartInfo`].
    #[error(
        "no PVH start info of version 1 or later and no multiboot2 information with a memory map: start the loader \
         with QEMU's -kernel or GRUB's multiboot2"
    )]
    StartInfo,
    /// See [`ExitCode::Internal`].
    #[error("internal: could not write the device tree: {0}")]
    Fdt(vm_fdt::Error),
}

impl Error {
    /// Returns the exit code of this error.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoModule => ExitCode::NoModule,
            Self::NotElf { .. } => ExitCode::NotElf,
            Self::WrongMachine { .. } => ExitCode::WrongMachine,
            Self::NotHermit(_) => ExitCode::NotHermit,
            Self::Truncated { .. } => ExitCode::Truncated,
            Self::Malformed(_) => ExitCode::Malformed,
            Self::TooLarge { .. } | Self::NoRoomForFile { .. } => ExitCode::TooLarge,
            Self::CommandLine => ExitCode::CommandLine,
            Self::StartInfo => ExitCode::StartInfo,
            Self::Fdt(_) => ExitCode::Internal,
        }
    }
}
