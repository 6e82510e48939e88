//! Passes the linker script to the linker.

use std::env;

fn main() {
    // Read at run time: a checkout that was moved together with its target folder keeps the
    // compiled build script, and must not use the linker script at the old path.
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("{folder}/link.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
    // Addresses in the 32-bit entry code and in the page tables are absolute, and nothing
    // relocates the loader.
    println!("cargo::rustc-link-arg-bins=--no-pie");
}
