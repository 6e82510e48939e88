//! The probe's guest: one vCPU in 64-bit mode that uses SSE and `xgetbv`, as every
//! Hermit program does, and reports the result of an SSE computation through a port.

use anyhow::{Context, Result, anyhow, bail};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use memmap2::MmapMut;

/// `KVM_CAP_ASYNC_PF_INT` of Linux's include/uapi/linux/kvm.h.
const CAP_ASYNC_PF_INT: std::ffi::c_ulong = 183;
/// Linux's error numbers for a device without permission, or that does not exist.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
/// KVM's feature leaf; bit 4 is async page faults, bit 14 their ready interrupt.
const KVM_FEATURES: u32 = 0x4000_0001;
const FEATURE_ASYNC_PF: u32 = 1 << 4;
const FEATURE_ASYNC_PF_INT: u32 = 1 << 14;

/// Guest-physical memory: 2 MiB, identity-mapped by one large page.
const MEMORY: usize = 2 << 20;
const PML4: usize = 0x1000;
const PDPT: usize = 0x2000;
const PD: usize = 0x3000;
const CODE: usize = 0x4000;
const PORT: u16 = 0x510;

/// Enough that an emulated vCPU reaches the time limit.
const ROUNDS: u32 = 1_000_000;
const EXPECTED: u32 = ROUNDS * 3 + 21;

const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31; // PE MP ET NE WP PG
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 18; // PAE OSFXSR OSXMMEXCPT OSXSAVE
const EFER: u64 = 1 << 8 | 1 << 10; // LME LMA

/// Runs the guest on this machine's KVM.
///
/// # Errors
/// KVM does not run it; the message is one line.
pub fn run() -> Result<()> {
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        EACCES | EPERM => anyhow!("this user may not open /dev/kvm; add the user to the group kvm"),
        ENOENT => anyhow!("this machine has no /dev/kvm"),
        _ => anyhow!("/dev/kvm cannot be opened: {error}"),
    })?;
    if kvm.check_extension_raw(CAP_ASYNC_PF_INT) <= 0 {
        bail!("this KVM has no async page faults by interrupt, which need Linux 5.8 or newer");
    }
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).context("KVM does not return its CPUID")?;
    let features =
        cpuid.as_slice().iter().find(|leaf| leaf.function == KVM_FEATURES).map_or(0, |leaf| leaf.eax);
    if features & FEATURE_ASYNC_PF == 0 || features & FEATURE_ASYNC_PF_INT == 0 {
        bail!("this KVM does not offer async page faults (CPUID 0x40000001 EAX = {features:#x})");
    }
    let vm = kvm.create_vm().context("KVM cannot create a VM")?;
    // Async page faults need the in-kernel interrupt controller, so the probe tests it.
    vm.create_irq_chip().context("KVM has no in-kernel interrupt controller")?;
    let mut memory = MmapMut::map_anon(MEMORY).context("no memory for the probe's guest")?;
    fill(&mut memory);
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY as u64,
        userspace_addr: memory.as_mut_ptr() as u64,
    };
    // SAFETY: the region is the whole of `memory`, which outlives the vCPU (declared before
    // it) and is not touched by this program from here on.
    unsafe { vm.set_user_memory_region(region) }.context("KVM does not accept the guest's memory")?;
    let mut vcpu = vm.create_vcpu(0).context("KVM cannot create a vCPU")?;
    vcpu.set_cpuid2(&cpuid).context("KVM does not accept its own CPUID for a vCPU")?;
    enter_long_mode(&vcpu)?;
    let sum = next_word(&mut vcpu)?;
    if sum != EXPECTED {
        bail!("KVM computes wrongly with SSE ({sum} instead of {EXPECTED})");
    }
    if next_word(&mut vcpu)? & 1 == 0 {
        bail!("KVM shows the guest a wrong XCR0");
    }
    Ok(())
}

/// Runs the guest to its next `out` and returns the value.
fn next_word(vcpu: &mut VcpuFd) -> Result<u32> {
    let stop = match vcpu.run().context("KVM cannot run the vCPU")? {
        VcpuExit::IoOut(PORT, bytes) => {
            return Ok(u32::from_le_bytes(
                bytes.try_into().context("KVM reports a port access of a wrong size")?,
            ));
        }
        VcpuExit::InternalError => "KVM stops with an internal error".to_owned(),
        VcpuExit::FailEntry(reason, _) => format!("KVM cannot enter the guest (reason {reason:#x})"),
        VcpuExit::Shutdown => "the guest's vCPU shuts down".to_owned(),
        other => format!("KVM stops with {other:?}"),
    };
    let rip = vcpu.get_regs().map(|regs| regs.rip).unwrap_or_default();
    bail!("{stop} {}", instruction_at(rip))
}

/// Writes the page tables and the code.
fn fill(memory: &mut [u8]) {
    let mut entry = |at: usize, value: u64| memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let present_writable = 0b11;
    entry(PML4, PDPT as u64 | present_writable);
    entry(PDPT, PD as u64 | present_writable);
    entry(PD, present_writable | 1 << 7); // one page of 2 MiB at 0
    let code = code();
    memory[CODE..CODE + code.len()].copy_from_slice(&code);
}

/// The guest's program in parts, each with its name in an error message.
const PARTS: [(&str, &[u8]); 4] = [
    (
        "at the first SSE instruction",
        &[
            0xb8, 21, 0, 0, 0, // mov eax, 21
            0x66, 0x0f, 0x6e, 0xc0, // movd xmm0, eax
            0xb8, 3, 0, 0, 0, // mov eax, 3
            0x66, 0x0f, 0x6e, 0xc8, // movd xmm1, eax
        ],
    ),
    (
        "at xgetbv",
        &[
            0x31, 0xc9, // xor ecx, ecx
            0x0f, 0x01, 0xd0, // xgetbv
            0x89, 0xc6, // mov esi, eax
        ],
    ),
    (
        "in SSE arithmetic",
        &[
            0xb9, // mov ecx, ROUNDS (the four bytes that follow)
            ROUNDS.to_le_bytes()[0],
            ROUNDS.to_le_bytes()[1],
            ROUNDS.to_le_bytes()[2],
            ROUNDS.to_le_bytes()[3],
            0x66,
            0x0f,
            0xfe,
            0xc1, // 1: paddd xmm0, xmm1
            0xff,
            0xc9, // dec ecx
            0x75,
            0xf8, // jnz 1b
            0x66,
            0x0f,
            0x7e,
            0xc0, // movd eax, xmm0
        ],
    ),
    (
        "while reporting",
        &[
            0x66,
            0xba,
            PORT.to_le_bytes()[0],
            PORT.to_le_bytes()[1], // mov dx, PORT
            0xef,                  // out dx, eax
            0x89,
            0xf0, // mov eax, esi
            0xef, // out dx, eax
            0xf4, // hlt
        ],
    ),
];

fn code() -> Vec<u8> {
    PARTS.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
}

/// Names the part of the program at `rip`.
fn instruction_at(rip: u64) -> String {
    let mut end = CODE as u64;
    for (name, bytes) in PARTS {
        end += bytes.len() as u64;
        if (CODE as u64..end).contains(&rip) {
            return name.into();
        }
    }
    format!("at {rip:#x}")
}

fn enter_long_mode(vcpu: &VcpuFd) -> Result<()> {
    let code = kvm_segment {
        limit: 0xffff_ffff,
        selector: 8,
        type_: 11,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment {
        limit: 0xffff_ffff,
        selector: 16,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    let mut sregs = vcpu.get_sregs().context("KVM does not return the vCPU's registers")?;
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (CR0, PML4 as u64, CR4, EFER);
    vcpu.set_sregs(&sregs).context("KVM does not accept 64-bit mode")?;
    let regs = kvm_regs { rip: CODE as u64, rsp: PML4 as u64, rflags: 2, ..Default::default() };
    vcpu.set_regs(&regs).context("KVM does not accept the vCPU's registers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_loop_jumps_back_to_its_start() {
        let (_, part) = PARTS[2];
        let jump_end = 13; // mov 5, paddd 4, dec 2, jnz 2
        let target = jump_end as i64 + i64::from(part[jump_end - 1].cast_signed());
        assert_eq!(part[usize::try_from(target).unwrap()..][..4], [0x66, 0x0f, 0xfe, 0xc1]);
    }

    #[test]
    fn a_stop_is_named_by_its_part_of_the_program() {
        assert_eq!(instruction_at(CODE as u64), "at the first SSE instruction");
        assert_eq!(instruction_at(CODE as u64 + 20), "at xgetbv");
        assert_eq!(instruction_at(0), "at 0x0");
    }
}
