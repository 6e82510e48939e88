//! Logic of the async page fault (APF) service for Hermit unikernels on KVM.
//!
//! An access to guest memory that the host has evicted normally stops the whole
//! virtual CPU until the page is back. KVM can instead notify the guest: *this
//! page is not present, here is a token; do something else; I interrupt you
//! when it is ready*. The service is the guest's side of that, in the shape of
//! a microkernel's fault handler:
//!
//! ```text
//!   interrupt context            service thread              task
//!   (kernel archive)             (the program)
//!
//!   #PF: classify, enter token
//!        and waiter in the core's
//!        table, redirect ─────────────────────────────────► waits: futex or halt
//!
//!   ready interrupt:
//!        in this core's table? ───────────────────────────► released at once
//!        else enqueue Ready ───► looks in all tables ─────► resumes
//! ```
//!
//! Principles:
//!
//! 1. No wake-up is lost. A spurious resume is always safe: the access faults again.
//! 2. Values from the host are compared, never followed as addresses. A confused host can
//!    stall the guest, not corrupt it.
//! 3. Interrupt context does not allocate, lock, block, format or touch the FPU.
//! 4. One owner each: a core fills its slots, with interrupts off; every decision that is not
//!    "my core, my token" is the service thread's; a wait word has one waiter.
//! 5. Everything is bounded. Overflow has a defined and counted outcome.
//! 6. When in doubt, halt: a wrong halt is slow, a wrong task switch is a deadlock.
//!
//! | side | crate |
//! |---|---|
//! | logic, tested on any host | `apf-core`, this one |
//! | interrupts and waits, in the Hermit kernel archive | `apf-kernel` |
//! | what a program depends on | `apf-service` |

#![no_std]

extern crate alloc;

pub mod abi;
pub mod bring_in;
pub mod classify;
pub mod early_ready;
pub mod event;
pub mod histogram;
pub mod outcome;
#[cfg(not(loom))]
mod own;
#[cfg(not(loom))] // its queue is not of loom's atomics
pub mod per_core;
pub mod policy;
pub mod protocol;
pub mod record;
pub mod remote_ready;
pub mod report;
#[cfg(not(loom))]
pub mod serve;
pub mod sleeper;
pub mod slot;
pub mod slots;
pub mod stall;
pub mod stats;
pub mod sync;
pub mod time;
pub mod watchdog;
