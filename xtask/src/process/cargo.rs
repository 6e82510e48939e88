//! Cargo, and the builds whose products must not depend on the user's own cargo settings.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use super::Cmd;

/// The host's target. Named in builds, so that their products are where they are expected whatever
/// target the user has set.
pub const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The cargo that started this program; `cargo` from the PATH without one.
pub fn cargo() -> Cmd {
    Cmd::new(program())
}

/// The same cargo with its compiler, for builds.
pub fn build_cargo() -> Cmd {
    let program = program();
    let rustc = program.with_file_name("rustc");
    without_user_settings(Cmd::new(program).env("RUSTC", rustc))
}

fn program() -> PathBuf {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into()
}

/// Removes the user's settings for compilers from `cargo`: those in the environment, and with them
/// flags and wrappers in `[build]` tables of configuration files. `RUSTC` and the target are the
/// caller's.
pub fn without_user_settings(cargo: Cmd) -> Cmd {
    let names = env::vars_os().map(|(name, _)| name);
    let cargo = names.filter(changes_builds).fold(cargo, Cmd::env_remove);
    cargo
        // Empty variables win over configuration files.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env("CARGO_INCREMENTAL", "0")
}

/// Tells whether a variable changes what a build makes. Variables for the fetching of crates do not,
/// and a linker depends on the machine.
fn changes_builds(name: &OsString) -> bool {
    const FETCHING: [&str; 8] =
        ["HOME", "HTTP_", "NET_", "REGISTRIES_", "REGISTRY_", "SOURCE_", "TERM_", "BUILD_JOBS"];
    let name = name.to_string_lossy();
    match name.strip_prefix("CARGO_") {
        Some(rest) => {
            let linker = rest.starts_with("TARGET_") && rest.ends_with("_LINKER");
            !linker && !FETCHING.iter().any(|kept| rest.starts_with(kept))
        }
        // `option_env!` in the Hermit kernel, and rustc.
        None => {
            name.starts_with("HERMIT_") || matches!(&*name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUSTC_BOOTSTRAP")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changes_a_build_is_taken_out_and_what_fetches_crates_stays() {
        for name in [
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "RUSTFLAGS",
            "HERMIT_LOG_LEVEL_FILTER",
        ] {
            assert!(changes_builds(&name.into()), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "PATH",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!changes_builds(&name.into()), "{name}");
        }
    }

    /// Each of these lines alone stops the build or sends its product elsewhere.
    #[test]
    fn build_tables_of_configuration_files_change_nothing() {
        let scratch = crate::dirs::scratch("cargo-test").unwrap();
        let folder = |name: &str| {
            let folder = scratch.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let build = "[build]\nrustc = \"/bin/false\"\nrustc-wrapper = \"/bin/false\"\ntarget-dir = \"/nowhere\"\n\
                     rustc-workspace-wrapper = \"/bin/false\"\ntarget = \"wasm32-unknown-unknown\"\n\
                     rustflags = [\"--no-such-flag\"]\n";
        let package = "[package]\nname = \"x\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(folder(".cargo").join("config.toml"), build).unwrap();
        fs::write(folder("src").join("lib.rs"), "").unwrap();
        fs::write(scratch.path().join("Cargo.toml"), package).unwrap();
        let target = folder("target");
        build_cargo()
            .args(["build", "--offline", "--target", HOST_TARGET, "--target-dir"])
            .arg(&target)
            .cwd(scratch.path())
            .quiet()
            .capture()
            .unwrap();
        assert!(target.join(HOST_TARGET).join("debug/libx.rlib").is_file());
    }
}
