//! Boots a Hermit ELF where there is no uhyve:
//!
//! ```text
//! qemu-system-x86_64 -kernel apf-loader -initrd APP -append "KERNEL-ARGS -- APP-ARGS" …
//! ```
//!
//! QEMU enters the loader by the PVH protocol, GRUB by multiboot2; both leave the
//! application's ELF in memory as a module, unless it is bundled with the loader. The
//! loader checks it, copies it to its place, relocates it, describes the machine in a
//! device tree, and enters it.
//!
//! This library is everything that can be tested without a machine; the binary, in
//! `boot`, is the rest.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | what can go wrong, and the exit code of each |
//! | [`pvclock`] | the speed of the time stamp counter, in KVM's terms |
//! | [`pvh`], [`multiboot2`] | how the machine is described, by each boot protocol |
//! | [`machine`] | what all of them come down to |
//! | [`memory`] | which memory there is, and where an image fits |
//! | [`image`] | whether a file is a loadable Hermit image |
//! | [`fdt`] | the device tree for the kernel |

#![no_std]
// Tests must point a parser at memory.
#![cfg_attr(not(test), forbid(unsafe_code))]

extern crate alloc;

pub mod error;
pub mod fdt;
pub mod image;
pub mod machine;
pub mod memory;
pub mod multiboot2;
pub mod pvclock;
pub mod pvh;
