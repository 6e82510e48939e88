//! The emulated machine.

use std::path::Path;

use super::{Job, clock};
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

/// QEMU's command for a job. The first serial port is the kernel's console, in a
/// file; the second carries the job's output, on QEMU's standard output.
pub fn command(parts: &LabParts, job: &Job) -> Cmd {
    Cmd::new(&parts.qemu.path)
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3G"])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&parts.kernel)
        .arg("-initrd")
        .arg(&parts.initramfs)
        .arg("-append")
        .arg(format!("{KERNEL_ARGS} tsc_early_khz={}", clock::tsc_khz()))
        .arg("-chardev")
        .arg(format!("file,id=console,path={}", option_value(&job.console)))
        .args(["-serial", "chardev:console", "-chardev", "stdio,id=job,signal=off", "-serial", "chardev:job"])
        .args(["-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap"])
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=share,security_model=none,multidevs=remap",
            option_value(&job.share)
        ))
}

/// A path as the value of a QEMU option, where a comma ends a value.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
