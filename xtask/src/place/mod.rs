//! The place where VMs run, and everything that they are booted from.
//!
//! - [`driver`]: the driver's process, on this machine or in the lab
//! - [`firmware`]: files that QEMU opens beside its libraries

mod driver;
mod firmware;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::build;
use crate::drive::evict::Evict;
use crate::drive::latency::PageLatency;
use crate::drive::spec::{Host, Moves, Outcome, Spec, System, Vmm};
use crate::options::{GuestOptions, HostOptions};
use crate::probe::Verdict;
use crate::setup::{self, Needs, Tools};

/// A place with everything in it.
pub struct Place {
    pub verdict: Verdict,
    pub tools: Tools,
    pub built: build::Built,
    /// The program for Linux and that guest's kernel, if they were asked for.
    pub linux: Option<(build::linux::Program, PathBuf)>,
}

impl Place {
    /// Sets up what is missing and builds what is not up to date, for guests under `vmms`.
    pub fn prepare(host: &HostOptions, vmms: &[Vmm], linux: bool) -> Result<Self> {
        Self::with(host.verdict()?, host, vmms, linux, build::all)
    }

    /// The same where `verdict` says, for a program that is there already.
    pub fn for_app(verdict: Verdict, host: &HostOptions, vmm: Vmm, app: &Path) -> Result<Self> {
        Self::with(verdict, host, &[vmm], false, |tools| build::for_app(tools, app))
    }

    fn with(
        verdict: Verdict,
        host: &HostOptions,
        vmms: &[Vmm],
        linux: bool,
        build: impl FnOnce(&Tools) -> Result<build::Built>,
    ) -> Result<Self> {
        let tools = setup::ensure(Needs {
            guest: true,
            uhyve: vmms.contains(&Vmm::Uhyve),
            qemu: vmms.contains(&Vmm::Qemu),
            lab: verdict.is_lab().then(|| host.kernel()),
            linux,
            ..Needs::default()
        })?;
        let built = build(&tools)?;
        let linux = if linux {
            Some((build::linux::build(&tools)?, tools.linux.get()?.kernel.clone()))
        } else {
            None
        };
        Ok(Self { verdict, tools, built, linux })
    }

    /// The program that boots the guest.
    pub fn vmm(&self, vmm: Vmm) -> Result<PathBuf> {
        Ok(match vmm {
            Vmm::Uhyve => self.tools.uhyve.get()?.clone(),
            Vmm::Qemu => self.tools.qemu.get()?.path.clone(),
        })
    }

    /// A VM with the Hermit program of this place under `vmm`, of which nothing unusual is asked: all memory is
    /// evicted at once, the host is honest, and no time is set for its work.
    pub fn spec(
        &self,
        vmm: Vmm,
        guest: &GuestOptions,
        (memory_mib, cores): (u32, u32),
        page_latency: PageLatency,
    ) -> Result<Spec> {
        Ok(Spec {
            vmm,
            exact: false,
            profile: false,
            system: System::Hermit,
            program: self.vmm(vmm)?,
            image: self.built.image.clone(),
            loader: self.built.loader.clone(),
            pager: self.built.pager.clone(),
            memory_mib,
            cores,
            page_latency,
            evict: Evict::default(),
            moves: Moves::default(),
            host: Host::Honest,
            swap: false,
            seed: guest.seed,
            work: Duration::ZERO,
            region_pages: 0,
            show_console: guest.console,
            vmm_args: guest.vmm_arg.clone(),
            kernel_args: vec![],
            guest_args: guest.guest_args.clone(),
            app: None,
        })
    }

    /// Runs the VM of `spec` to its end; what it leaves is in `folder`.
    pub fn drive(&self, spec: &Spec, folder: &Path) -> Result<Outcome> {
        driver::drive(spec, &self.verdict, &self.tools, folder)
    }
}
