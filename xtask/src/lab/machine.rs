//! The emulated machine's command line.

use std::path::{Path, PathBuf};

use super::clock;
use super::job::{Job, Time};
use crate::process::Cmd;
use crate::setup::LabParts;

/// Command line of the lab's kernel.
///
/// - `panic=-1`: a panic reboots, which ends QEMU (`-no-reboot`) instead of hanging.
/// - `mitigations=off`: the lab has no attacker, and mitigations cost a third of the speed.
/// - `tsc=reliable`: TCG's counters all are the host's, but the CPUID flag for this is
///   missing; without the option every reading of the clock is an access to the emulated HPET.
/// - `tsc_early_khz`, added to these: the counters' frequency ([`clock`]).
/// - `loglevel=5`: warnings and errors only; the console is slow.
const KERNEL_ARGS: &str =
    "console=ttyS0 rdinit=/init panic=-1 mitigations=off tsc=reliable loglevel=5 random.trust_cpu=on";

/// Additions to the command line in exact mode.
///
/// - `apf_exact`: for `images/lab/init`; the kernel passes on options that it does not know
/// - `nokaslr`, `norandmaps`: kernel and programs have the same addresses in each run
const EXACT_KERNEL_ARGS: &str = "apf_exact=1 nokaslr norandmaps tsc_early_khz=1000000";

/// Temporary files of one machine.
pub struct Exchange {
    /// Initramfs that it boots from; in exact mode with the job's files.
    pub initramfs: PathBuf,
    /// Archive of the job's output, in exact mode.
    pub results: PathBuf,
}

/// Makes QEMU's command for a job. The first serial port is the kernel's console, written
/// to a file; the second carries the job's output to QEMU's standard output.
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
        Time::Host => host_time(command, job),
        Time::Instructions { seed, .. } => exact(command, exchange, seed),
    };
    match &job.profile {
        Some(profile) => profiled(command, &parts.emulator.counter, profile),
        None => command,
    }
}

/// Adds the plugin that counts the executions of each block of code, listed in `profile`.
fn profiled(command: Cmd, counter: &Path, profile: &Path) -> Cmd {
    command
        .arg("-plugin")
        .arg(format!("{},inline=on,limit={}", option_value(counter), u32::MAX))
        .args(["-d", "plugin", "-D"])
        .arg(profile)
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

/// Makes every instruction take one nanosecond (`shift=0`), and skips idle time
/// (`sleep=off`). Random numbers and the date are the same in each run. The third serial
/// port gets an interrupt of its own instead of the console's.
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

/// Escapes a path as the value of a QEMU option, which a comma would end.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
