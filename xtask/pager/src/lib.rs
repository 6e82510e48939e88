//! A userfaultfd pager that is preloaded into an unmodified VMM and makes its guest's RAM
//! pageable, each page-in taking a programmed time.
//!
//! ```text
//! APF_PAGER_SOCKET=/run/pager.sock LD_PRELOAD=…/libapf_pager.so  uhyve … | qemu-system-x86_64 …
//! ```
//!
//! 1. When the library is loaded, `start` opens all that the pager will need (the VMM may
//!    sandbox itself later) and starts its one thread. Without `APF_PAGER_SOCKET` it does nothing.
//! 2. `hook` interposes `ioctl`. The memory that the VMM gives to KVM as writable slots is the
//!    guest's RAM. `mappings` refuses memory that cannot be paged.
//! 3. A controller connects to the socket and sends requests ([`apf_vocabulary::pager`]): evict everything
//!    or a part of it, set the latency, restore everything, tell the counts.
//! 4. From the first eviction on, userfaultfd reports each touch of a page that is not there, and
//!    `pager` brings the page back when its time has come.
//!
//! Set the variables for the VMM alone, not for a shell or a wrapper around it (not
//! `timeout 9 uhyve`, but `timeout 9 env LD_PRELOAD=… uhyve`): the first process that loads the
//! library takes the socket, and hides the library from its children and from what it executes.
//!
//! One thread owns everything and multiplexes faults, due times and connections with `ppoll`:
//! there is no lock, and an eviction never runs beside the serving of a fault.

mod choice; // which pages an eviction takes
mod due; // which fault is to be served when
mod error; // what can go wrong, and what the user can do about it
mod handles; // files and descriptors from the kernel
mod hook; // `ioctl`, interposed
mod latency; // how long a page-in takes
mod mappings; // what kind of memory RAM is
mod pagemap; // which pages are present
mod pager; // evict, serve, restore
mod pages; // the state of each page
mod periodic; // evictions that come again and again
mod ram; // the guest's RAM, in pieces
mod recency; // which pages were paged in longest ago
mod server; // the thread's loop: faults, due times, connections
mod service; // requests to answers
mod start; // what happens when the library is loaded
mod store; // the contents of evicted pages
mod uffd; // the userfaultfd ABI
