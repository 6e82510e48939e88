//! Linux: the kernel handles async page faults. Its command line has turned them on or off
//! before this program, its first process, starts.

use std::arch::x86_64::__cpuid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::OnceLock;

use apf_core::protocol::{self, host_support};
use apf_service::Waits;
use apf_vocabulary::{Mode, PAGE_BYTES};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// Waits cannot be made halts.
pub const CAN_HALT: bool = false;

/// Kernel option that turns async page faults off
/// (Documentation/admin-guide/kernel-parameters.txt).
const OFF: &str = "no-kvmapf";

/// Async page faults are on; no part of this program runs for them.
pub struct Running;

impl Running {
    /// Does nothing: the kernel's state stays.
    pub fn stop(self) {}
}

/// Mounts `/proc`, which this program reads, in the first process.
///
/// # Panics
/// `/proc` cannot be mounted.
pub fn begin() {
    if is_first_process() {
        let none = None::<&str>;
        mount(none, "/proc", Some("proc"), MsFlags::empty(), none).expect("/proc");
    }
}

/// Powers the machine off in the first process: the kernel would panic if it ended.
pub fn end(code: ExitCode) -> ExitCode {
    if is_first_process() {
        let error = reboot(RebootMode::RB_POWER_OFF).unwrap_err();
        println!("the machine cannot be switched off: {error}");
    }
    code
}

fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Checks that the kernel's state fits `mode`. The kernel decides how it waits, and records
/// nothing.
///
/// # Errors
/// The state does not fit, or the mode is not one of Linux; the message is one line.
pub fn start(mode: Mode, _waits: Waits, _record: usize) -> Result<Option<Running>, String> {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    decide(mode, kvm_features(), &command_line).map(|()| (mode == Mode::LinuxAsync).then_some(Running))
}

fn decide(mode: Mode, features: Option<u32>, command_line: &str) -> Result<(), String> {
    let off = command_line.split_whitespace().take_while(|&word| word != "--").any(|word| word == OFF);
    match (mode, features, off) {
        // Since 5.8 Linux has the same requirements as the service.
        (Mode::LinuxAsync, Some(features), false) if host_support(Some(features)).is_ok() => Ok(()),
        (Mode::LinuxAsync, Some(features), false) => {
            Err(format!("this KVM offers Linux no async page faults (features {features:#x})"))
        }
        (Mode::LinuxAsync, None, _) => Err("this Linux does not run on KVM".into()),
        (Mode::LinuxAsync, _, true) => Err(format!("this Linux was booted with {OFF}")),
        (Mode::LinuxBlocked, _, true) => Ok(()),
        (Mode::LinuxBlocked, _, false) => Err(format!("this Linux was booted without {OFF}")),
        (Mode::Blocked | Mode::Halt | Mode::Async, ..) => {
            Err(format!("{} is a mode of Hermit, and this is Linux", mode.name()))
        }
    }
}

/// Reads the features that KVM offers its guest; `None` without KVM.
fn kvm_features() -> Option<u32> {
    protocol::kvm_features(|leaf| {
        let answer = __cpuid(leaf);
        [answer.eax, answer.ebx, answer.ecx, answer.edx]
    })
}

/// Returns the physical address of `pointer`; `None` where nothing is mapped, and for a
/// process without the permission.
pub fn physical_address<T>(pointer: *const T) -> Option<u64> {
    const PAGE: u64 = PAGE_BYTES as u64;
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    let pagemap = PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()?;
    let address = pointer.addr() as u64;
    let mut entry = [0; 8];
    pagemap.read_exact_at(&mut entry, address / PAGE * 8).ok()?;
    frame(u64::from_le_bytes(entry)).map(|frame| frame * PAGE + address % PAGE)
}

/// Returns the page frame of an entry (Documentation/admin-guide/mm/pagemap.rst).
fn frame(entry: u64) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    Some(entry & FRAME).filter(|&frame| entry & PRESENT != 0 && frame != 0)
}

/// Returns the frequency of the time-stamp counter in MHz; 1 if it is unknown.
pub fn tsc_mhz() -> u32 {
    mhz(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()).unwrap_or(1)
}

fn mhz(cpuinfo: &str) -> Option<u32> {
    let line = cpuinfo.lines().find(|line| line.starts_with("cpu MHz"))?;
    let mhz: f64 = line.split_once(':')?.1.trim().parse().ok()?;
    Some(mhz.round() as u32).filter(|&mhz| mhz > 0)
}

/// Returns the range of the kernel's code; `None` for a process without the permission.
pub fn kernel_code() -> Option<Range<u64>> {
    // Read line by line: of a hundred thousand symbols, this one is among the first.
    let symbols = BufReader::new(File::open("/proc/kallsyms").ok()?);
    let start = symbols.lines().map_while(Result::ok).find_map(|line| start_of_code(&line))?;
    let size = size_of_code(&fs::read_to_string("/proc/iomem").ok()?)?;
    (start > 0).then(|| start..start + size)
}

/// Parses `ffffffff9a000000 T _text`: address, kind, name.
fn start_of_code(symbol: &str) -> Option<u64> {
    let address = symbol.strip_suffix(" _text")?.split(' ').next()?;
    u64::from_str_radix(address, 16).ok()
}

/// Parses `  1a000000-1ac00fff : Kernel code`: first and last physical address.
fn size_of_code(memory: &str) -> Option<u64> {
    let range = memory.lines().find_map(|line| line.trim().strip_suffix(" : Kernel code"))?;
    let (first, last) = range.split_once('-')?;
    let [first, last] = [first, last].map(|address| u64::from_str_radix(address, 16).ok());
    Some(last?.checked_sub(first?)? + 1).filter(|&size| size > 1)
}

/// Returns the number of ready interrupts that the kernel has taken, on all cores.
pub fn ready_interrupts() -> u64 {
    hypervisor_callbacks(&fs::read_to_string("/proc/interrupts").unwrap_or_default())
}

/// Sums up `HYP:  17  4  Hypervisor callback interrupts`, a number for each core. Under KVM
/// these are the ready interrupts (`sysvec_kvm_asyncpf_interrupt` in
/// arch/x86/kernel/kvm.c).
fn hypervisor_callbacks(interrupts: &str) -> u64 {
    let line = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("HYP:"));
    line.unwrap_or_default().split_whitespace().map_while(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_needs_a_kernel_in_the_right_state() {
        let (kvm, old) = (Some(0x0100_7efb), Some(0x0100_3efb));
        for (mode, features, command_line, fits) in [
            (Mode::LinuxAsync, kvm, "quiet -- --experiment=peer", true),
            (Mode::LinuxAsync, kvm, "quiet no-kvmapf -- x", false),
            // The program's arguments are not the kernel's.
            (Mode::LinuxAsync, kvm, "quiet -- no-kvmapf", true),
            (Mode::LinuxAsync, old, "quiet", false),
            (Mode::LinuxAsync, None, "quiet", false),
            (Mode::LinuxBlocked, kvm, "quiet no-kvmapf", true),
            (Mode::LinuxBlocked, kvm, "quiet", false),
            (Mode::Halt, kvm, "quiet", false),
        ] {
            assert_eq!(decide(mode, features, command_line).is_ok(), fits, "{mode:?} {command_line}");
        }
    }

    #[test]
    fn the_kernels_files_are_parsed() {
        let interrupts = "           CPU0       CPU1\n MCE:  1  1 Machine checks\n HYP:  17  4   Hypervisor callback \
                          interrupts\n HRE:  9  9 Hyper-V\n";
        assert_eq!((hypervisor_callbacks(interrupts), hypervisor_callbacks(" NMI: 3")), (21, 0));
        assert_eq!(start_of_code("ffffffff9a000000 T _text"), Some(0xffff_ffff_9a00_0000));
        assert_eq!(start_of_code("ffffffff9a000000 T _text_end"), None);
        let memory = "00100000-0ffdbfff : System RAM\n  01000000-01c00fff : Kernel code\n";
        assert_eq!(size_of_code(memory), Some(0xc0_1000));
        // As shown to a process without the permission.
        assert_eq!(size_of_code("  00000000-00000000 : Kernel code\n"), None);
        assert_eq!(mhz("model\t: 3\ncpu MHz\t\t: 2495.998\n"), Some(2496));
        assert_eq!((mhz(""), mhz("cpu MHz\t\t: 0.000")), (None, None));
        assert_eq!((frame(1 << 63 | 7), frame(7), frame(1 << 63)), (Some(7), None, None));
    }
}
