//! Links the Hermit kernel archive, for the Hermit target only.

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
            println!("cargo:error=HERMIT_KERNEL_DIR is not set: build the image with `cargo xtask build`")
        }
    }
}
