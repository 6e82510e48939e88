//! Links the Hermit kernel archive into programs for the Hermit target, so that
//! a program needs no build script of its own.

fn main() {
    println!("cargo:rerun-if-env-changed=HERMIT_KERNEL_DIR");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("hermit") {
        return;
    }
    match std::env::var("HERMIT_KERNEL_DIR") {
        Ok(dir) => {
            println!("cargo:rustc-link-search=native={dir}");
            println!("cargo:rustc-link-lib=static=hermit");
            println!("cargo:rerun-if-changed={dir}/libhermit.a");
        }
        Err(_) => {
            println!(
                "cargo::error=HERMIT_KERNEL_DIR is not set: it names the folder of libhermit.a, which `cargo xtask build` makes (target/apf/kernel/lib)"
            )
        }
    }
}
