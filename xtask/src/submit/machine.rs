//! The machine's description: what is needed to judge its figures, and nothing that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Settings that change the cost of a fault, and their files. What a machine lacks is left out.
const SETTINGS: [(&str, &str); 23] = [
    ("kvm.halt_poll_ns", "sys/module/kvm/parameters/halt_poll_ns"),
    ("kvm.tdp_mmu", "sys/module/kvm/parameters/tdp_mmu"),
    ("kvm.nx_huge_pages", "sys/module/kvm/parameters/nx_huge_pages"),
    ("kvm_intel.ept", "sys/module/kvm_intel/parameters/ept"),
    ("kvm_intel.eptad", "sys/module/kvm_intel/parameters/eptad"),
    ("kvm_intel.unrestricted_guest", "sys/module/kvm_intel/parameters/unrestricted_guest"),
    ("kvm_intel.enable_apicv", "sys/module/kvm_intel/parameters/enable_apicv"),
    ("kvm_intel.pml", "sys/module/kvm_intel/parameters/pml"),
    ("kvm_intel.ple_gap", "sys/module/kvm_intel/parameters/ple_gap"),
    ("kvm_intel.nested", "sys/module/kvm_intel/parameters/nested"),
    ("kvm_amd.npt", "sys/module/kvm_amd/parameters/npt"),
    ("kvm_amd.avic", "sys/module/kvm_amd/parameters/avic"),
    ("kvm_amd.nested", "sys/module/kvm_amd/parameters/nested"),
    ("frequency governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("frequency driver", "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"),
    ("frequency boost", "sys/devices/system/cpu/cpufreq/boost"),
    ("no turbo", "sys/devices/system/cpu/intel_pstate/no_turbo"),
    ("idle driver", "sys/devices/system/cpu/cpuidle/current_driver"),
    ("SMT", "sys/devices/system/cpu/smt/control"),
    ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("huge pages", "sys/kernel/mm/transparent_hugepage/enabled"),
    ("huge pages, shared memory", "sys/kernel/mm/transparent_hugepage/shmem_enabled"),
    ("multi-generational LRU", "sys/kernel/mm/lru_gen/enabled"),
];
const MITIGATIONS: &str = "sys/devices/system/cpu/vulnerabilities";

/// A machine that ran experiments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub processor: String,
    pub microcode: Option<String>,
    pub sockets: usize,
    pub cores: usize,
    pub threads: usize,
    pub memory_mib: u64,
    /// True if it is a virtual machine itself.
    pub is_virtual: bool,
    pub kernel: String,
    pub settings: BTreeMap<String, String>,
    /// The kernel's answer to each weakness of processors.
    pub mitigations: BTreeMap<String, String>,
}

impl Machine {
    /// Describes the machine whose files are below `root`, which is `/` but in tests.
    pub fn read(root: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let cpuinfo = read("proc/cpuinfo").unwrap_or_default();
        let values = |name: &str| -> Vec<String> {
            let value = |line: &str| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            };
            cpuinfo.lines().filter_map(value).collect()
        };
        let threads = values("processor").len();
        let (packages, cores) = (values("physical id"), values("core id"));
        let count = |all: BTreeSet<_>, default| if all.is_empty() { default } else { all.len() };
        let memory = read("proc/meminfo").unwrap_or_default();
        let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
        let settings = SETTINGS.iter().filter_map(|&(name, path)| Some((name.to_owned(), read(path)?)));
        let weaknesses = fs::read_dir(root.join(MITIGATIONS)).into_iter().flatten();
        let mitigations = weaknesses.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let answer = read(&format!("{MITIGATIONS}/{name}"))?;
            Some((name, answer))
        });
        Self {
            processor: values("model name").into_iter().next().unwrap_or_else(|| "unknown".into()),
            microcode: values("microcode").into_iter().next(),
            sockets: count(packages.iter().map(|package| (package, None)).collect(), 1),
            cores: count(packages.iter().zip(cores.iter().map(Some)).collect(), threads),
            threads,
            memory_mib: kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 10,
            is_virtual: values("flags").iter().any(|flags| flags.split(' ').any(|it| it == "hypervisor")),
            kernel: format!("Linux {}", read("proc/sys/kernel/osrelease").unwrap_or_default()),
            settings: settings.collect(),
            mitigations: mitigations.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_by_its_kernels_files() {
        let scratch = tempfile::tempdir().unwrap();
        let thread = |processor, package, core| {
            format!(
                "processor\t: {processor}\nmodel name\t: Example 9000\nmicrocode\t: 0x12\n\
                 physical id\t: {package}\ncore id\t\t: {core}\nflags\t\t: fpu svm\n\n"
            )
        };
        let cpuinfo: String =
            [(0, 0, 0), (1, 0, 1), (2, 0, 0), (3, 1, 0)].map(|(p, s, c)| thread(p, s, c)).concat();
        for (path, text) in [
            ("proc/cpuinfo", &*cpuinfo),
            ("proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n"),
            ("proc/sys/kernel/osrelease", "6.12.9\n"),
            ("sys/module/kvm/parameters/halt_poll_ns", "200000\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ] {
            let file = scratch.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let machine = Machine::read(scratch.path());
        assert_eq!((machine.sockets, machine.cores, machine.threads), (2, 3, 4));
        assert_eq!(
            (&*machine.processor, machine.memory_mib, machine.is_virtual),
            ("Example 9000", 16000, false)
        );
        assert_eq!((&*machine.kernel, machine.microcode.as_deref()), ("Linux 6.12.9", Some("0x12")));
        let settings: Vec<_> = machine.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(settings, [("huge pages", "always [madvise] never"), ("kvm.halt_poll_ns", "200000")]);
        assert_eq!(machine.mitigations["meltdown"], "Not affected");
        // This one has at least a processor and memory.
        let here = Machine::read(Path::new("/"));
        assert!(here.threads > 0 && here.memory_mib > 0 && here.kernel.len() > 6, "{here:?}");
    }
}
