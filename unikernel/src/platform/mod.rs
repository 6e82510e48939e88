//! Services that Hermit and Linux provide in different ways. All other code of this
//! program is the same for both.
//!
//! | item | on Hermit | on Linux |
//! |---|---|---|
//! | [`begin`], [`end`] | nothing: the kernel does it | as the first process: mounts `/proc`, powers off |
//! | [`start`] | `apf_service` | checks that the kernel is as the mode wants it |
//! | [`physical_address`] | asks the kernel | `/proc/self/pagemap` |
//! | [`tsc_mhz`] | asks the kernel | `/proc/cpuinfo` |
//! | [`kernel_code`] | in the image | `/proc/kallsyms`, `/proc/iomem` |
//! | [`ready_interrupts`] | none: the service counts | `/proc/interrupts` |
//!
//! The rest of `apf_service` (sections without preemption, the prefetcher, the
//! counters) exists on Linux too, and does nothing.

#[cfg(target_os = "hermit")]
mod hermit;
#[cfg(target_os = "hermit")]
pub use hermit::*;

#[cfg(not(target_os = "hermit"))]
mod linux;
#[cfg(not(target_os = "hermit"))]
pub use linux::*;
