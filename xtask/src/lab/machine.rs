//! The emulated machine.

use std::path::{Path, PathBuf};

use super::{
    clock,
    job::{Job, Time},
};
use crate::{process::Cmd, setup::LabParts};

/// What the lab's kernel is told.
///
/// - `panic=-1`: a panic reboots, which ends QEMU (`-no-reboot`): no hanging lab.
/// - `mitigations=off`: nobody to defend against in there, and they cost a third.
/// - `tsc=reliable`: TCG's counters all read the host's one, only the flag that says
///   so is missing; without it every look at the clock is a trip to the HPET's emulation.
/// - `tsc_early_khz`, beside these: their frequency ([`clock`]).
/// - `loglevel=5`: warnings and errors only; the console is slow.
const KERNEL_ARGS: &str =
    "console=ttyS0 rdinit=/init panic=-1 mitigations=off tsc=reliable loglevel=5 random.trust_cpu=on";

/// What is added in exact mode.
///
/// - `apf_exact`: for `images/lab/init`, which gets what the kernel does not know
/// - `nokaslr`, `norandmaps`: programs lie where they lay in the last run
const EXACT_KERNEL_ARGS: &str = "apf_exact=1 nokaslr norandmaps tsc_early_khz=1000000";

/// Files that come and go with the machine.
pub struct Exchange {
    /// What it boots from, in exact mode with the job's files.
    pub initramfs: PathBuf,
    /// Where it sends what the job has left, in exact mode.
    pub results: PathBuf,
    /// Its disk.
    pub disk: Option<PathBuf>,
}

/// QEMU's command for a job. The first serial port is the kernel's console, in a
/// file; the second carries the job's output, on QEMU's standard output.
pub fn command(parts: &LabParts, job: &Job, exchange: &Exchange) -> Cmd {
    let command = Cmd::new(&parts.emulator.qemu.path)
        .args(["-cpu", "max", "-m", "3G", "-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&parts.linux.kernel)
        .arg("-initrd")
        .arg(&exchange.initramfs)
        .arg("-chardev")
        .arg(format!("file,id=console,path={}", option_value(&job.console)))
        .args([
            "-serial",
            "chardev:console",
            "-chardev",
            "stdio,id=job,signal=off",
            "-serial",
            "chardev:job",
        ]);
    let command = match job.time {
        Time::Host => host_time(with_disk(command, exchange.disk.as_deref()), job),
        Time::Instructions { seed, .. } => exact(command, exchange, seed),
    };
    match &job.profile {
        Some(profile) => profiled(command, &parts.emulator.counter, profile),
        None => command,
    }
}

/// Counts how often each block of code runs, and lists them in the file `profile`.
fn profiled(command: Cmd, counter: &Path, profile: &Path) -> Cmd {
    command
        .arg("-plugin")
        .arg(format!("{},inline=on,limit={}", option_value(counter), u32::MAX))
        .args(["-d", "plugin", "-D"])
        .arg(profile)
}

/// Nobody needs what is on it after the machine's end.
fn with_disk(command: Cmd, disk: Option<&Path>) -> Cmd {
    let Some(disk) = disk else { return command };
    let drive = format!("file={},if=none,id=disk,format=raw,cache=unsafe", option_value(disk));
    command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"])
}

fn host_time(command: Cmd, job: &Job) -> Cmd {
    command
        .args(["-accel", "tcg,thread=multi", "-smp", "2", "-append"])
        .arg(format!("{KERNEL_ARGS} tsc_early_khz={}", clock::tsc_khz()))
        .args(["-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap"])
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=share,security_model=none,multidevs=remap",
            option_value(&job.share)
        ))
}

/// Every instruction takes one nanosecond (`shift=0`), and time in which nothing runs
/// is skipped (`sleep=off`). Random numbers and the date are those of the last run.
/// The third serial port has an interrupt of its own: it usually shares the console's.
fn exact(command: Cmd, exchange: &Exchange, seed: u64) -> Cmd {
    command
        .args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"])
        .args(["-seed", &seed.to_string(), "-rtc", "base=2026-01-01T00:00:00,clock=vm"])
        .arg("-append")
        .arg(format!("{KERNEL_ARGS} {EXACT_KERNEL_ARGS}"))
        .arg("-chardev")
        .arg(format!("file,id=results,path={}", option_value(&exchange.results)))
        .args(["-device", "isa-serial,chardev=results,index=2,iobase=0x3e8,irq=5"])
}

/// A path as the value of a QEMU option, where a comma ends a value.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
