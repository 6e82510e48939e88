//! The VMM's command line. VMMs run as they are; only the pager is preloaded.

use std::process::ExitStatus;

use super::network::Network;
use super::sockets::Sockets;
use super::spec::{Host, Spec, System, Vmm};
use crate::process::Cmd;

/// What a VMM boots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Boots {
    /// The image.
    Image,
    /// Nothing: it waits until the monitor says where its guest comes from.
    Nothing,
}

/// The command of a VMM whose pager and monitor listen on `sockets`.
pub fn command(spec: &Spec, sockets: &Sockets, boots: Boots) -> Cmd {
    let cmd = Cmd::new(&spec.program).env("LD_PRELOAD", &spec.pager).env("APF_PAGER_SOCKET", &sockets.pager);
    let cmd = match spec.host {
        Host::Honest => cmd,
        Host::Attacks => cmd.env("APF_PAGER_HOSTILE", "attacks"),
        Host::Refuses => cmd.env("APF_PAGER_HOSTILE", "refuses"),
    };
    match spec.vmm {
        Vmm::Uhyve => cmd
            .args([
                "--memory-size",
                &format!("{}MiB", spec.memory_mib),
                "--cpu-count",
                &spec.cores.to_string(),
            ])
            // The guest touches no files of the host.
            .args(["--file-isolation", "none"])
            .args(&spec.vmm_args)
            .arg(&spec.image)
            // The first ends uhyve's own arguments, the second the kernel's.
            .args(["--", "--"])
            .args(&spec.guest_args),
        Vmm::Qemu => cmd
            .args(["-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-m", &format!("{}M", spec.memory_mib), "-smp", &spec.cores.to_string()])
            .args(spec.app.iter().flat_map(|app| &app.network).flat_map(Network::arguments))
            .args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .args(if spec.may_move() { monitor(sockets) } else { vec![] })
            .args(if boots == Boots::Nothing { &["-incoming", "defer"][..] } else { &[] })
            .args(&spec.vmm_args)
            .arg("-kernel")
            .arg(&spec.loader)
            .arg("-initrd")
            .arg(&spec.image)
            .args(["-append", &command_line(&spec.kernel_args, &spec.guest_args)]),
    }
}

fn monitor(sockets: &Sockets) -> Vec<String> {
    vec!["-qmp".into(), format!("unix:{},server=on,wait=off", sockets.monitor.display())]
}

/// Joins the kernel's words and the program's, with dashes between them.
fn command_line(kernel: &[String], program: &[String]) -> String {
    let words: Vec<&str> =
        kernel.iter().map(String::as_str).chain(["--"]).chain(program.iter().map(String::as_str)).collect();
    words.join(" ")
}

/// Returns the exit code of a Hermit program by the VMM's exit status, if that is one. Under
/// QEMU the kernel tells success from failure only: isa-debug-exit leaves with 2 × value + 1, and the
/// kernel writes 1 for success and 0 for failure.
pub fn exit_code(spec: &Spec, status: ExitStatus) -> Option<u8> {
    let code = u8::try_from(status.code()?).ok()?;
    match (spec.vmm, code) {
        (Vmm::Uhyve, code) => Some(code),
        (Vmm::Qemu, 3) => Some(0),
        (Vmm::Qemu, 1) => Some(1),
        (Vmm::Qemu, _) => None,
    }
}

/// Returns true if the guest ended well, by the VMM's exit status.
pub fn succeeded(spec: &Spec, status: ExitStatus) -> bool {
    match (spec.vmm, spec.system) {
        // Linux switches the machine off.
        (Vmm::Uhyve, _) | (Vmm::Qemu, System::Linux) => status.success(),
        (Vmm::Qemu, System::Hermit) => exit_code(spec, status) == Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_kernel_come_before_those_of_its_program() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(command_line(&[], &words("--tasks 3")), "-- --tasks 3");
        assert_eq!(command_line(&words("quiet no-kvmapf"), &words("--x=1")), "quiet no-kvmapf -- --x=1");
    }
}
