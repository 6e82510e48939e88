//! Hands the linker script to the linker.

use std::env;

fn main() {
    // At run time: a checkout that was moved with its target folder keeps the compiled
    // script, and must not link by the script of the old place.
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("{folder}/link.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
    // Addresses in the 32-bit entry code and in the page tables are absolute, and
    // nobody is there yet to relocate them.
    println!("cargo::rustc-link-arg-bins=--no-pie");
}
