//! A userfaultfd pager that is preloaded into an unmodified VMM: it evicts the guest's RAM and
//! brings pages back after a programmed latency.
//!
//! ```text
//! APF_PAGER_SOCKET=/run/pager.sock LD_PRELOAD=…/libapf_pager.so  uhyve … | qemu-system-x86_64 …
//! ```
//!
//! 1. When the library is loaded, `start` opens everything that the pager will need (the VMM may
//!    sandbox itself later) and starts its one thread. Without `APF_PAGER_SOCKET` it does nothing.
//! 2. `hook` interposes `ioctl`. The memory that the VMM gives to KVM as writable slots is the
//!    guest's RAM, and a thread that calls `KVM_RUN` is a virtual CPU. `mappings` refuses memory
//!    that cannot be paged.
//! 3. A controller connects to the socket and sends requests ([`apf_vocabulary::pager`]): evict
//!    everything or a part of it, set the latency, restore everything, return the counts.
//! 4. From the first eviction on, userfaultfd reports each touch of an absent page, and `pager`
//!    brings the page back when it is due.
//!
//! Set the variables for the VMM alone, not for a shell or a wrapper around it (not
//! `timeout 9 uhyve`, but `timeout 9 env LD_PRELOAD=… uhyve`): the first process that loads the
//! library takes the socket, and hides the library from its children and from what it executes.
//!
//! One thread owns everything and multiplexes faults, due times and connections with `ppoll`:
//! there is no lock, and an eviction never runs beside the serving of a fault.

mod attack; // attacks on the guest, for tests
mod choice; // the pages that an eviction takes
mod due; // due times of faults
mod error; // errors, with messages that tell the user what to do
mod handles; // files and descriptors from the kernel
mod hook; // interposed `ioctl`, which shows the guest's RAM and virtual CPUs
mod hostile; // the host turned hostile, for tests
mod latency; // latency of page-ins
mod mappings; // the kind of memory that RAM is
mod pagemap; // the pages that are present
mod pager; // evict, serve, restore
mod pages; // the state of each page
mod periodic; // periodic evictions
mod ram; // the guest's RAM, in pieces
mod recency; // recency of pages, by a clock that counts page-ins
mod resident; // a limit on the pages in memory
mod server; // the thread's loop: faults, due times, connections
mod service; // requests and their answers
mod start; // start of the pager when the library is loaded
mod store; // the contents of evicted pages
mod uffd; // the userfaultfd ABI
mod working_set; // pages that come ahead of the faults
