//! Kernel side of the async page fault service, compiled into the Hermit kernel archive.
//!
//! | file | holds |
//! |---|---|
//! | `hooks` | declarations of the functions that the kernel provides |
//! | `processor` | interrupt flag, time-stamp counter |
//! | `cores` | each core's state, by number |
//! | `futex` | sleeping on a word that has one sleeper, and waking it |
//! | `timer` | the time for which the local timer is set |
//! | `hold` | task switches withheld from a core that halts |
//! | `record` | finished faults, for the program and for the log |
//! | `wait` | waiting on the interrupted stack, by futex or by halt |
//! | `wait_entry` | from the #PF handler to the wait, in assembly |
//! | `machine` | the machine, as the logic needs it |
//! | `fault` | the handlers of both interrupts |
//! | `entry` | the two interrupt entries, in assembly |
//! | `msr` | registers that the host may refuse, with the #GP entry |
//! | `arm` | self-check, arming and disarming a core, and checking it after a restore |
//! | `entries` | system calls, which bring the program's buffers in before the kernel uses them |
//! | `exports` | functions that the program may call |
//!
//! The logic is `apf-core`'s. The archive is soft-float and built without red zone, so
//! nothing here disturbs the interrupted context's FPU state or the 128 bytes below its
//! stack pointer. The kernel implements [`Hooks`] and names the implementor to
//! [`provide_hooks`]. On a host this compiles, to be linted, and never links.

#![no_std]

extern crate alloc;

mod arm;
mod cores;
mod entries;
mod entry;
mod exports;
mod fault;
mod futex;
mod hold;
mod hooks;
mod machine;
mod msr;
mod processor;
mod record;
mod timer;
mod wait;
mod wait_entry;

pub use apf_core::abi::Hooks;
pub use apf_core::classify::Task;
#[doc(hidden)]
pub use apf_core::for_each_hook;
pub use hold::{holds_core, note_work};
pub use timer::timer_was_set;

/// Vector of the ready interrupt; Linux guests use the same one
/// (`HYPERVISOR_CALLBACK_VECTOR`), and Hermit leaves it free.
pub const VECTOR: u8 = 0xf3;
