//! The loader's logic: boots a Hermit ELF under QEMU and from GRUB, without uhyve.
//!
//! ```text
//! qemu-system-x86_64 -kernel apf-loader -initrd APP -append "KERNEL-ARGS -- APP-ARGS" …
//! ```
//!
//! QEMU enters the loader by the PVH protocol, GRUB by multiboot2; both leave the
//! application's ELF in memory as a module, unless it is bundled with the loader. The
//! loader checks it, copies it to its place, relocates it, describes the machine in a
//! device tree, and jumps to its entry.
//!
//! This library holds everything that can be tested without a machine; the binary in
//! `boot` holds the rest.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | the errors, and the exit code of each |
//! | [`pvclock`] | the frequency of the time-stamp counter, from KVM's clock |
//! | [`pvh`], [`multiboot2`] | the description of the machine in each boot protocol |
//! | [`machine`] | the same description, independent of the protocol |
//! | [`memory`] | usable memory, and a place in it for the image |
//! | [`image`] | the checks of an image file |
//! | [`fdt`] | the device tree for the kernel |

#![no_std]
// Tests pass raw addresses to a parser.
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
