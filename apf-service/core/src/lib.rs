//! Logic of the async page fault (APF) service for Hermit unikernels on KVM.
//!
//! A touch of guest memory that the host has paged out normally stops the whole
//! virtual CPU until the page is back. KVM can instead tell the guest: *this
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
//! 2. What the host supplies is compared, never followed as an address.
//! 3. Interrupt context does not allocate, lock, block, format or touch the FPU.
//! 4. One owner each: a core fills its table, with interrupts off; what is not "my core,
//!    my token" is the service thread's decision; a wait word has one waiter.
//! 5. Everything is bounded; an overflow has a defined, counted outcome.
//! 6. When in doubt, halt: halting wrongly is slow, scheduling wrongly a deadlock.
//!
//! | side | crate |
//! |---|---|
//! | logic, tested on any host | `apf-core`, this one |
//! | interrupts and waits, in the Hermit kernel archive | `apf-kernel` |
//! | what a program depends on | `apf-service` |

#![no_std]

extern crate alloc;

pub mod abi;
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
pub mod stats;
pub mod sync;
pub mod time;
