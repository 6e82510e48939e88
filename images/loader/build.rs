//! Hands the linker script to the linker.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/link.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
    // Addresses in the 32-bit entry code and in the page tables are absolute, and
    // nobody is there yet to relocate them.
    println!("cargo::rustc-link-arg-bins=--no-pie");
}
