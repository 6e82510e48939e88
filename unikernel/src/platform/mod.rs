//! The system functions that differ between Hermit and Linux. The rest of this program is the
//! same code for both.
//!
//! | item | on Hermit | on Linux |
//! |---|---|---|
//! | [`begin`], [`end`] | nothing | as the first process: mounts `/proc`, powers off |
//! | [`start`] | starts `apf_service` | checks that the kernel's state fits the mode |
//! | [`physical_address`] | asks the kernel | `/proc/self/pagemap` |
//! | [`tsc_mhz`] | asks the kernel | `/proc/cpuinfo` |
//! | [`kernel_code`] | none: it is in the image | `/proc/kallsyms`, `/proc/iomem` |
//! | [`ready_interrupts`] | none: the service counts | `/proc/interrupts` |
//!
//! The rest of `apf_service` (sections without preemption, the prefetcher, its counters)
//! exists on Linux too, and does nothing.

#[cfg(target_os = "hermit")]
mod hermit;
#[cfg(target_os = "hermit")]
pub use hermit::*;

#[cfg(not(target_os = "hermit"))]
mod linux;
#[cfg(not(target_os = "hermit"))]
pub use linux::*;
