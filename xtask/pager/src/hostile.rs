//! The host turned hostile, for tests: what the interposed `ioctl` learns and changes, and the ways
//! from there to the guest.
//!
//! Only with the variable `APF_PAGER_HOSTILE` in the VMM's environment.

use crate::ram::GuestRam;
use apf_core::protocol::msr::{ASYNC_PF_EN, ASYNC_PF_INT};
use libc::{c_int, c_ulong, c_void};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Variable that says what the host does: `attacks`, when it is asked to, or `refuses`, which makes
/// KVM refuse the register that turns async page faults on.
pub const VARIABLE: &str = "APF_PAGER_HOSTILE";

/// `KVM_GET_MSRS`, `KVM_GET_LAPIC`, `KVM_SIGNAL_MSI` and `KVM_X86_SET_MSR_FILTER` (linux/kvm.h).
const GET_MSRS: c_ulong = 0xc008_ae88;
const GET_LAPIC: c_ulong = 0x8400_ae8e;
const SIGNAL_MSI: c_ulong = 0x4020_aea5;
const SET_MSR_FILTER: c_ulong = 0x4188_aec6;
/// Flag of a filter's range: it is for writes.
const FILTER_WRITE: u32 = 1 << 1;

static ATTACKS: AtomicBool = AtomicBool::new(false);
static REFUSES: AtomicBool = AtomicBool::new(false);
/// The VM's descriptor, by which KVM was given memory.
static VM: AtomicI32 = AtomicI32::new(-1);
/// Virtual CPUs that are attacked: those with the lowest APIC identifiers.
const MOST: usize = 16;
static CPUS: [Cpu; MOST] = [const { Cpu { enabled: AtomicU64::new(0), vector: AtomicU64::new(0) } }; MOST];
thread_local! {
    /// The APIC identifier of this thread's virtual CPU; `None` before it first enters the guest.
    static APIC: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The two registers of a virtual CPU, as it had them when it last entered the guest.
struct Cpu {
    enabled: AtomicU64,
    vector: AtomicU64,
}

/// Turns the host hostile, in the way that the variable's value says.
pub fn turn(how: &str) {
    ATTACKS.store(how == "attacks", Ordering::Release);
    REFUSES.store(how == "refuses", Ordering::Release);
}

/// Returns whether attacks may be asked for.
pub fn attacks() -> bool {
    ATTACKS.load(Ordering::Acquire)
}

/// Notes the descriptor of the VM, and makes KVM refuse the register if that is wanted.
pub fn note_vm(vm: c_int) {
    if VM.swap(vm, Ordering::AcqRel) != vm && REFUSES.load(Ordering::Acquire) {
        refuse(vm);
    }
}

/// Looks at the registers of the virtual CPU that is about to enter the guest. Its thread leaves the
/// last processor to the attack.
pub fn note_vcpu(vcpu: c_int) {
    if !attacks() {
        return;
    }
    let apic = APIC.get().unwrap_or_else(|| {
        run_on(|processor, last| processor != last);
        // Without an APIC in KVM there are no async page faults.
        let apic = apic(vcpu).unwrap_or(MOST);
        APIC.set(Some(apic));
        apic
    });
    if let Some(cpu) = CPUS.get(apic)
        && let Some([enabled, vector]) = registers(vcpu, [ASYNC_PF_EN, ASYNC_PF_INT])
    {
        cpu.vector.store(vector, Ordering::Release);
        cpu.enabled.store(enabled, Ordering::Release);
    }
}

/// Returns the identifier of a virtual CPU's local APIC.
fn apic(vcpu: c_int) -> Option<usize> {
    /// Its register, at 0x20, whose upper byte it is (Intel SDM vol. 3, "Local APIC ID").
    const ID: usize = 0x20 / size_of::<u32>();
    let mut state = [0_u32; 0x400 / size_of::<u32>()];
    // SAFETY: KVM writes `struct kvm_lapic_state`, of this size.
    let read = unsafe { call(vcpu, GET_LAPIC, state.as_mut_ptr().cast()) };
    (read == 0).then_some((state[ID] >> 24) as usize)
}

/// Lets the attack's thread run on the last processor.
pub fn place_attack() {
    run_on(|processor, last| processor == last);
}

/// Restricts this thread to some processors, if there are several. An attack must see the area between
/// KVM's write and the guest's read, which no thread on the same processor can.
fn run_on(wanted: impl Fn(usize, usize) -> bool) {
    let Ok(count) = std::thread::available_parallelism() else { return };
    let last = count.get() - 1;
    // SAFETY: a set of processors is plain bits, for which 0 is valid, and the numbers fit in it. The
    // call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..count.get().min(libc::CPU_SETSIZE as usize))
            .filter(|&processor| last == 0 || wanted(processor, last))
            .for_each(|processor| libc::CPU_SET(processor, &mut set));
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// `struct kvm_msrs` with two entries.
#[repr(C)]
struct Registers {
    count: u32,
    padding: u32,
    entries: [Register; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Register {
    index: u32,
    reserved: u32,
    value: u64,
}

fn registers(vcpu: c_int, indices: [u32; 2]) -> Option<[u64; 2]> {
    let entries = indices.map(|index| Register { index, reserved: 0, value: 0 });
    let mut registers = Registers { count: 2, padding: 0, entries };
    // SAFETY: KVM reads and writes this structure, of as many entries as it says.
    let read = unsafe { call(vcpu, GET_MSRS, (&raw mut registers).cast()) };
    (read == 2).then(|| registers.entries.map(|entry| entry.value))
}

/// `struct kvm_msr_filter`.
#[repr(C)]
struct Filter {
    flags: u32,
    ranges: [FilterRange; 16],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct FilterRange {
    flags: u32,
    count: u32,
    base: u32,
    /// A set bit allows.
    bitmap: *const u8,
}

const _: () = assert!(size_of::<Filter>() == 0x188 && size_of::<Registers>() == 40 && size_of::<Msi>() == 32);

fn refuse(vm: c_int) {
    let none = 0_u8;
    let range = FilterRange { flags: FILTER_WRITE, count: 1, base: ASYNC_PF_EN, bitmap: &raw const none };
    let unused = FilterRange { flags: 0, count: 0, base: 0, bitmap: std::ptr::null() };
    let mut ranges = [unused; 16];
    ranges[0] = range;
    let mut filter = Filter { flags: 0, ranges };
    // SAFETY: KVM reads this structure and the bitmap of one bit that it points to.
    if unsafe { call(vm, SET_MSR_FILTER, (&raw mut filter).cast()) } != 0 {
        eprintln!("apf-pager: KVM does not filter registers: {}", std::io::Error::last_os_error());
    }
}

/// A virtual CPU's area and its ready interrupt.
#[derive(Debug)]
pub struct Target {
    pub flags: &'static AtomicU32,
    pub token: &'static AtomicU32,
    vm: c_int,
    apic: u32,
    vector: u32,
}

impl Target {
    /// Finds those in `ram`: of each virtual CPU that has entered the guest since the guest has turned
    /// its async page faults on.
    pub fn all(ram: &GuestRam) -> Vec<Self> {
        (0..).zip(&CPUS).filter_map(|(apic, cpu)| Self::of(ram, apic, cpu)).collect()
    }

    fn of(ram: &GuestRam, apic: u32, cpu: &Cpu) -> Option<Self> {
        let enabled = cpu.enabled.load(Ordering::Acquire);
        if enabled & 1 == 0 {
            return None;
        }
        let flags = ram.pointer(enabled & !0x3f)?.cast::<AtomicU32>();
        // SAFETY: in the guest's RAM, which stays mapped, and aligned to 64 bytes. The guest's accesses
        // count as those of another thread.
        let (flags, token) = unsafe { (&*flags, &*flags.add(1)) };
        let vector = cpu.vector.load(Ordering::Acquire) as u32 & 0xff;
        Some(Self { flags, token, vm: VM.load(Ordering::Acquire), apic, vector })
    }

    /// Raises the ready interrupt on its virtual CPU.
    pub fn interrupt(&self) {
        // Physical destination, fixed delivery, edge (Intel SDM vol. 3, "Message Signalled Interrupts").
        let low = 0xfee0_0000 | self.apic << 12;
        let mut msi = Msi { low, high: 0, data: self.vector, flags: 0, device: 0, padding: [0; 12] };
        // SAFETY: KVM reads this structure.
        unsafe { call(self.vm, SIGNAL_MSI, (&raw mut msi).cast()) };
    }
}

/// `struct kvm_msi`.
#[repr(C)]
struct Msi {
    low: u32,
    high: u32,
    data: u32,
    flags: u32,
    device: u32,
    padding: [u8; 12],
}

/// Makes a request of KVM.
///
/// # Safety
/// `argument` points to what KVM reads and writes at this request.
unsafe fn call(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's obligation.
    unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) as c_int }
}
