//! Figures and places that a program may ask for.

use apf_core::event::CoreId;
use apf_core::record::Fault;
use apf_core::report::ServiceStats;
use apf_core::stats::CoreStats;

use crate::ffi;

/// Returns the frequency of the time-stamp counter in MHz, which turns the cycles of
/// [`stats`] into microseconds; 1 off Hermit.
#[must_use]
pub fn tsc_mhz() -> u32 {
    ffi::tsc_mhz()
}

/// Returns the address of `pointer` in the guest's physical memory, so that a program can
/// name its memory to the host; `None` where nothing is mapped, and off Hermit.
#[must_use]
pub fn physical_address<T>(pointer: *const T) -> Option<u64> {
    ffi::physical(pointer.addr() as u64)
}

/// Returns the core that the caller runs on: tasks of Hermit stay on theirs.
#[must_use]
pub fn this_core() -> CoreId {
    ffi::core()
}

/// Returns the counts of each core since the program started, over all generations
/// of the service. Cores that were never armed are left out.
///
/// ```
/// let scheduled: u64 = apf_service::stats().map(|(_, core)| core.schedule_waits.get()).sum();
/// # assert_eq!(scheduled, 0, "off Hermit no page is waited for");
/// ```
pub fn stats() -> impl Iterator<Item = (CoreId, &'static CoreStats)> {
    (0..ffi::cores()).map(CoreId).filter_map(|core| Some((core, ffi::core_stats(core)?)))
}

/// Returns whether the host has told this program of a fault since it started. One is proof that the host
/// delivers to a kernel. None is proof of nothing: a host that ignores `KVM_ASYNC_PF_SEND_ALWAYS` looks to the
/// guest like one that pages nothing out (docs/adr/0013-silent-host.md of the project).
#[must_use]
pub fn has_delivered() -> bool {
    stats().any(|(_, core)| core.not_present.get() > 0)
}

/// Takes the faults that were recorded ([`Config::record`](crate::Config::record)), core by core, each
/// core's in the order in which they finished.
pub fn recorded() -> impl Iterator<Item = Fault> {
    (0..ffi::cores()).map(CoreId).flat_map(|core| core::iter::from_fn(move || ffi::recorded(core)))
}

pub static SERVICE_STATS: ServiceStats = ServiceStats::new();

/// Returns the counts of the service thread since the program started.
///
/// ```
/// let overdue = apf_service::service_stats().overdue.get();
/// # assert_eq!(overdue, 0);
/// ```
#[must_use]
pub fn service_stats() -> &'static ServiceStats {
    &SERVICE_STATS
}
