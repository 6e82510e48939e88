//! The interrupt side, compiled into the Hermit kernel archive.
//!
//! | file | holds |
//! |---|---|
//! | `hooks` | what the kernel provides |
//! | `entry` | the two interrupt entries and the wait entry, in assembly |
//! | `fault` | what they call: classify, enqueue, release |
//! | `futex` | sleeping on a word that has one sleeper, and waking it |
//! | `wait` | waiting on the interrupted stack, by futex or by halt |
//! | `record` | single faults, for a program that wants to see each |
//! | `arm` | self-check, arming and disarming a core |
//! | `exports` | what the program may call |
//!
//! The archive is soft-float and built without red zone, so nothing here
//! disturbs the interrupted context's FPU state or the 128 bytes below its
//! stack pointer.

mod arm;
mod entry;
mod exports;
mod fault;
mod futex;
pub mod hooks;
mod record;
mod wait;

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::time::Tsc;
use crate::vcpu::VCpu;

/// Cores the service has room for.
pub const MAX_CORES: usize = 64;
/// Vector of the ready interrupt; Linux guests use the same one
/// (`HYPERVISOR_CALLBACK_VECTOR`), and Hermit leaves it free.
pub const VECTOR: u8 = 0xf3;

static CORES: [AtomicPtr<VCpu>; MAX_CORES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CORES];
/// One more than the highest core that has ever been armed.
static CORES_IN_USE: AtomicUsize = AtomicUsize::new(0);
/// A task switch was asked for and withheld; see [`holds_core`].
static WITHHELD: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

fn vcpu(core: usize) -> Option<&'static VCpu> {
    let vcpu = CORES.get(core)?.load(Ordering::Acquire);
    // SAFETY: the pointer is null or from a leaked box (`arm`), never freed.
    unsafe { vcpu.as_ref() }
}

/// Every core that has ever been armed.
fn vcpus() -> impl Iterator<Item = (usize, &'static VCpu)> + Clone {
    let cores = 0..CORES_IN_USE.load(Ordering::Acquire);
    cores.filter_map(|core| Some((core, vcpu(core)?)))
}

fn this_core() -> usize {
    // SAFETY: a hook; it reads the core's own number.
    unsafe { hooks::apf_hook_core() as usize }
}

fn this_vcpu() -> Option<&'static VCpu> {
    vcpu(this_core())
}

fn now() -> Tsc {
    // SAFETY: every x86-64 processor has a time-stamp counter, and KVM lets
    // guests read it.
    Tsc(unsafe { x86::time::rdtsc() })
}

/// The addresses of the kernel archive's code, its copies of `core`, `alloc`
/// and `memcpy` included: the archive is linked into one object with one text
/// section, and the linker makes these symbols for it.
fn kernel_text() -> Range<u64> {
    unsafe extern "C" {
        static __start_hermit_kernel_text: u8;
        static __stop_hermit_kernel_text: u8;
    }
    (&raw const __start_hermit_kernel_text) as u64..(&raw const __stop_hermit_kernel_text) as u64
}

/// Whether the running task must keep the core, asked by the scheduler before
/// it switches. `is_preempted`: the task is still running, that is, has not
/// blocked of its own accord.
///
/// While a context halts, it may be anywhere in the kernel, so nothing else
/// may run. A switch that was withheld is made up for at the end of the halt
/// or guard.
pub fn holds_core(is_preempted: bool, critical_depth: u32) -> bool {
    let hold = this_vcpu().is_some_and(VCpu::is_halting) || (is_preempted && critical_depth > 0);
    if hold {
        WITHHELD[this_core()].store(true, Ordering::Relaxed);
    }
    hold
}

/// Makes up for a withheld switch, once nothing holds the core any more.
fn switch_if_withheld() {
    if WITHHELD[this_core()].swap(false, Ordering::Relaxed) {
        // SAFETY: a hook, called in task context.
        unsafe { hooks::apf_hook_reschedule() };
    }
}
