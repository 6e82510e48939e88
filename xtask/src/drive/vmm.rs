//! The VMM's command line. VMMs run as they are; only the pager is preloaded.

use std::path::Path;

use super::spec::{Spec, Vmm};
use crate::process::Cmd;

/// The command that boots the guest with a pager that listens on `socket`.
pub fn command(spec: &Spec, socket: &Path) -> Cmd {
    let cmd = Cmd::new(&spec.program).env("LD_PRELOAD", &spec.pager).env("APF_PAGER_SOCKET", socket);
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
    }
}
