//! The Hermit kernel as a static archive that a std program links. Its changes are the
//! series `images/kernel/patches`.

/// The file added to the kernel's source as `src/apf.rs`: the service's hooks.
pub const HOOKS: &str = include_str!("../kernel/apf.rs");
/// The linker script that makes one object of the archive.
pub const LINKER_SCRIPT: &str = include_str!("../kernel/link.ld");
/// Features of the kernel that every archive has.
pub const FEATURES: [&str; 4] = ["acpi", "fsgsbase", "pci", "smp"];
/// The kernel's feature that is the service; the last patch adds it.
pub const SERVICE: &str = "kvm-apf";
/// Features that an archive can have as well: the others of the kernel's default set, and network and memory
/// calls of std that are not in it.
pub const MORE_FEATURES: [&str; 8] = ["dhcpv4", "dns", "fuse", "mmap", "pci-ids", "tcp", "udp", "vsock"];

/// Returns whether a global symbol of the kernel keeps its name. All others become
/// local to the archive, since they would clash with the program's own copies of
/// `core` and `alloc`.
pub fn is_exported(symbol: &str) -> bool {
    matches!(symbol, "_start" | "__bss_start" | "runtime_entry")
        || symbol.starts_with("sys_")
        || (symbol.starts_with("apf_")
            && !["apf_hook_", ENTRY].iter().any(|&inner| symbol.starts_with(inner)))
}

/// Start of the name of a system call's entry, before it gets the system call's name.
const ENTRY: &str = "apf_entry_";
/// Start of the name that the kernel's own function then gets.
pub const INNER: &str = "kernel_";

/// Returns the name of the entry of a system call, if it has one.
pub fn entry(system_call: &str) -> String {
    format!("{ENTRY}{system_call}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_exported_and_the_inside_is_not() {
        assert!(["_start", "sys_write", "apf_arm"].into_iter().all(is_exported));
        assert!(
            ["memcpy", "apf_hook_task", "apf_entry_sys_write", "_RNvCs_4core", "__rust_alloc"]
                .into_iter()
                .all(|s| !is_exported(s))
        );
    }
}
